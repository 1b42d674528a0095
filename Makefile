SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready
CLIENTS := .venv-clients
CLIENTS_READY := $(CLIENTS)/.ready
PEERS := .venv-peers
PEERS_READY := $(PEERS)/.ready
NODE_CLIENTS := tests/contract/node
NODE_READY := $(NODE_CLIENTS)/node_modules/.ready

# The tests start Python hundreds of times; each start is half a second shorter when it need not compile the proxy.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup clients demo cluster serve test test-python check fmt lint types cov bench bench-peers scaling soak hostile config image-check lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment and install everything

$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/install-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clients: $(CLIENTS_READY) $(NODE_READY) ## Install the client libraries that the contract tests run

$(CLIENTS_READY): requirements-clients.txt | $(READY)
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/pip install --quiet --disable-pip-version-check --no-compile -r requirements-clients.txt
	@touch $@

# Without Node its tests are skipped, and say so; no stamp is left then, so that a Node that comes later is used.
$(NODE_READY): $(NODE_CLIENTS)/package.json $(NODE_CLIENTS)/package-lock.json
	@if command -v node >/dev/null && command -v npm >/dev/null; then \
	  npm --prefix $(NODE_CLIENTS) ci --silent --ignore-scripts --no-audit --no-fund && touch $@; \
	else echo "no node and npm: the tests of JavaScript clients will be skipped"; fi

demo: $(READY) ## Run the proxy against a local Poe, with commands to try
	$(BIN)/python -m proxy demo

cluster: $(READY) ## Run three instances behind nginx on one Redis, as compose would
	$(BIN)/python -m cluster

serve: $(READY) ## Run the proxy with the settings in the environment
	$(BIN)/python -m proxy serve

# Six at a time, a file to each, in the order of tests/conftest.py: more than half of the time is spent waiting for processes
# to start and end.
PYTEST := $(BIN)/python -m pytest -q -n 6 --dist loadfile --no-loadscope-reorder --durations=30
# What these test is the same on every Python: files for deployment, documents, the page in a browser, client libraries,
# programs that measure.
SAME_ON_EVERY_PYTHON := admin bench cluster contract deploy docs

test: $(READY) clients ## Run the tests
	$(PYTEST)

test-python: $(READY) ## Run the tests of what may differ between versions of Python
	$(PYTEST) $(foreach part,$(SAME_ON_EVERY_PYTHON),--ignore=tests/$(part))

check: lint types config test ## Everything CI runs: format, lint, types, configuration files, tests

fmt: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY) ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## Check types
	$(BIN)/mypy

config: $(READY) ## Check Dockerfile, compose file, workflows and scripts
	scripts/check-config

# Not a part of check, since it needs Docker; CI runs it on the image that it builds.
image-check: ## Build the container image with Docker, run it and ask it
	scripts/image-check

cov: $(READY) clients ## Run the tests and report coverage
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

bench: $(READY) ## Measure CPU, waits and memory beside other ways to do the same
	$(BIN)/python -m bench

scaling: $(READY) ## Measure what a second worker adds, each held to a quarter of a core
	$(BIN)/python -m bench.scaling

soak: $(READY) ## Load one worker for half an hour, and see whether anything grows
	$(BIN)/python -m bench.soak

hostile: $(READY) ## Attack a worker with hundreds of hostile requests and answers, beside a neighbour
	$(BIN)/python -m bench.hostile

bench-peers: $(PEERS_READY) ## Install LiteLLM, which bench compares us with, apart from all else

# Its proxy pulls in a hundred packages, whose warnings are a file's business.
$(PEERS_READY): | $(READY)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]~=1.106' >$(PEERS)/install.log 2>&1
	@touch $@

lock: ## Write requirements*.txt anew from pyproject.toml
	scripts/lock

clean: ## Remove what was built; keeps DATA_DIR
	rm -rf $(VENV) $(CLIENTS) $(PEERS) $(NODE_CLIENTS)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
