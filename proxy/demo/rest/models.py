"""The models that the local Poe serves over REST, and their entries in its catalogue."""

from typing import Any, Final, NamedTuple

_CREATED_MS: Final = 1_767_225_600_000
_CONTEXT_TOKENS: Final = 200_000
_OUTPUT_TOKENS: Final = 64_000

CHAT: Final = "/v1/chat/completions"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"


class Model(NamedTuple):
    """A model.

    Attributes:
        name: its display name at Poe; callers may write it in lower case.
        owned_by: its vendor.
        backend: what answers name as their model.
        endpoints: paths that serve it.
        parameters: as the catalogue declares them; chat takes them beside its own fields.
        prices: dollars for a token: read, written, read from the cache, written to the cache.
        takes_budget: whether the caller says with how many tokens Claude may think; else it says how hard.
    """

    name: str
    owned_by: str
    backend: str
    endpoints: tuple[str, ...]
    parameters: tuple[dict[str, Any], ...]
    prices: tuple[str, str, str | None, str | None]
    takes_budget: bool = False
    context_tokens: int = _CONTEXT_TOKENS
    output_tokens: int = _OUTPUT_TOKENS

    @property
    def is_claude(self) -> bool:
        """Whether Anthropic made it."""
        return self.owned_by == "Anthropic"

    @property
    def is_gpt(self) -> bool:
        """Whether OpenAI made it."""
        return self.owned_by == "OpenAI"

    @property
    def is_gemini(self) -> bool:
        """Whether Google made it."""
        return self.owned_by == "Google"

    @property
    def declared(self) -> set[str]:
        """The names of its parameters."""
        return {parameter["name"] for parameter in self.parameters}

    def as_card(self) -> dict[str, Any]:
        """Its entry in the catalogue."""
        prompt, completion, read, write = self.prices
        return {
            "id": self.name.lower(),
            "object": "model",
            "created": _CREATED_MS,
            "description": f"{self.name} answers with what it is told.",
            "owned_by": self.owned_by,
            "root": self.name.lower(),
            "architecture": {
                "input_modalities": ["text", "image"],
                "output_modalities": ["text"],
                "modality": "text,image->text",
            },
            "supported_features": ["tools"],
            "supported_endpoints": list(self.endpoints),
            "pricing": {
                "prompt": prompt,
                "completion": completion,
                "image": None,
                "request": None,
                "input_cache_read": read,
                "input_cache_write": write,
            },
            "context_window": {"context_length": self.context_tokens, "max_output_tokens": self.output_tokens},
            "context_length": self.context_tokens,
            "metadata": {"display_name": self.name, "url": f"https://poe.com/{self.name.lower()}"},
            "reasoning": {
                "budget": {"max_tokens": self.output_tokens - 1, "min_tokens": 0} if self.takes_budget else None,
                "required": False,
                "supports_reasoning_effort": "reasoning_effort" in self.declared,
            },
            "parameters": list(self.parameters),
        }


def _levels(name: str, *levels: str, default: str) -> dict[str, Any]:
    return {"name": name, "schema": {"enum": list(levels)}, "default_value": default}


_BUDGET: Final[dict[str, Any]] = {
    "name": "thinking_budget",
    "schema": {"type": "number", "minimum": 0, "maximum": _OUTPUT_TOKENS - 1},
    "default_value": 0,
    "description": "The largest number of tokens to think with.",
}

MODELS: Final[tuple[Model, ...]] = (
    Model(
        "Claude-Demo",
        "Anthropic",
        "claude-demo-20260101",
        (MESSAGES, RESPONSES, CHAT),
        (_BUDGET,),
        ("0.0000030", "0.000015", "0.00000030", "0.0000038"),
        takes_budget=True,
    ),
    Model(
        "Claude-Demo-Max",
        "Anthropic",
        "claude-demo-max-20260101",
        (MESSAGES, RESPONSES, CHAT),
        (_levels("output_effort", "max", "high", "medium", "low", default="high"),),
        ("0.0000050", "0.000025", "0.00000050", "0.0000063"),
    ),
    Model(
        "GPT-Demo",
        "OpenAI",
        "gpt-demo-2026-01-01",
        (RESPONSES, CHAT),
        (_levels("reasoning_effort", "none", "low", "medium", "high", default="none"),),
        ("0.0000020", "0.000010", "0.00000020", None),
    ),
    Model(
        "Gemini-Demo",
        "Google",
        "gemini-demo-preview",
        (CHAT,),
        (_levels("thinking_level", "low", "high", default="low"),),
        ("0.0000020", "0.000012", "0.00000020", None),
    ),
)

_BY_NAME: Final = {model.name.lower(): model for model in MODELS}


def model_named(name: object) -> Model | None:
    """The model that a caller means: by Poe's name or by that of the backend."""
    wanted = str(name).lower()
    return _BY_NAME.get(wanted) or next((model for model in MODELS if model.backend == wanted), None)
