"""The list of models as Codex reads it: one missing field, and it takes none of them."""

import json

import pytest

from proxy.core.models import ModelCard
from proxy.dialects.openai_responses.models import codex_list_body

#: Those of ``ModelInfo`` without a default.
REQUIRED = {
    "slug",
    "display_name",
    "supported_reasoning_levels",
    "shell_type",
    "visibility",
    "supported_in_api",
    "priority",
    "base_instructions",
    "supports_reasoning_summaries",
    "support_verbosity",
    "truncation_policy",
    "supports_parallel_tool_calls",
    "experimental_supported_tools",
}


def test_each_model_has_what_codex_requires() -> None:
    (model,) = json.loads(codex_list_body([ModelCard("GPT-5", 0, "OpenAI", takes_tools=True, context_tokens=400_000)]))[
        "models"
    ]

    assert set(model) >= REQUIRED
    assert (model["slug"], model["visibility"], model["context_window"]) == ("GPT-5", "list", 400_000)
    assert model["base_instructions"]


@pytest.mark.parametrize(("takes_tools", "visibility"), [(True, "list"), (False, "hide")])
def test_only_models_that_call_tools_are_shown(*, takes_tools: bool, visibility: str) -> None:
    (model,) = json.loads(codex_list_body([ModelCard("Echo", 0, "poe", takes_tools=takes_tools)]))["models"]

    assert (model["visibility"], model["context_window"]) == (visibility, None)
