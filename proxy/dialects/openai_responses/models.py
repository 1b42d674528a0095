"""The list of models in Codex's form, with which it knows a model's window and tools. Pure.

Codex takes what is required from ``ModelInfo`` in its ``codex-rs/protocol/src/openai_models.rs``; a list without one of
the fields is of no use to it. Its own instructions are for OpenAI's models alone, so the list has to bring some.
"""

from collections.abc import Iterable
from typing import Any, Final

import orjson

from proxy.core.models import ModelCard

_INSTRUCTIONS: Final = """\
You are a coding agent in the user's terminal. You work in the current directory with the tools that you have.

- Look before you change anything: list and read files, search with `rg` where there is one.
- Make the smallest change that does what was asked, in the style of the code around it. Edit files with `apply_patch`.
- Check your work with what the project has for it, its tests above all. Say so when you could not.
- Leave changes alone that are not yours. Commit, push and install nothing unless you are asked to.
- Go on until the task is done. Then say in a few sentences what you changed, and what is left.
"""
#: Of a command's output Codex keeps so many tokens.
_OUTPUT_TOKENS: Final = 10_000


def codex_list_body(cards: Iterable[ModelCard]) -> bytes:
    """The answer to ``GET /v1/models?client_version=…``. Codex shows the models that call tools in its picker."""
    return orjson.dumps({"models": [_model_json(card, place) for place, card in enumerate(cards)]})


def _model_json(card: ModelCard, place: int) -> dict[str, Any]:
    return {
        "slug": card.id,
        "display_name": card.shown_as or card.id,
        "description": None,
        "supported_reasoning_levels": [],
        "shell_type": "default",
        "visibility": "list" if card.takes_tools else "hide",
        "supported_in_api": True,
        "priority": place,
        "upgrade": None,
        "base_instructions": _INSTRUCTIONS,
        "supports_reasoning_summaries": True,
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "web_search_tool_type": "text",
        "truncation_policy": {"mode": "tokens", "limit": _OUTPUT_TOKENS},
        "supports_parallel_tool_calls": True,
        "context_window": card.context_tokens or None,
        "experimental_supported_tools": [],
        "input_modalities": ["text", "image"],
    }
