SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test check fmt lint types cov bench config lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the virtual environment and install everything

$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/install-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: $(READY) ## Run the proxy against a local Poe, with commands to try
	$(BIN)/python -m proxy demo

serve: $(READY) ## Run the proxy with the settings in the environment
	$(BIN)/python -m proxy serve

test: $(READY) ## Run the tests
	$(BIN)/python -m pytest -q

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

cov: $(READY) ## Run the tests and report coverage
	$(BIN)/python -m pytest -q --cov --cov-report=term-missing:skip-covered

bench: $(READY) ## Measure CPU per request and per chunk beside other ways to do the same
	$(BIN)/python -m bench

lock: ## Write requirements*.txt anew from pyproject.toml
	scripts/lock

clean: ## Remove what was built; keeps DATA_DIR
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
