"""Token counts as OpenAI has them."""

from proxy.core.usage import Usage
from proxy.dialects.openai.usage import usage_json


def test_usage_names_what_was_thought() -> None:
    """Nothing of it is cached, and nothing audio."""
    assert usage_json(Usage(7, 30, 20)) == {
        "prompt_tokens": 7,
        "completion_tokens": 30,
        "total_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0},
    }
