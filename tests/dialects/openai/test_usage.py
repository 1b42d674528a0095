"""Token counts as OpenAI has them."""

from proxy.core.usage import Usage
from proxy.dialects.openai.usage import usage_json


def test_usage_names_what_was_thought_and_cached() -> None:
    """Nothing of it is audio."""
    assert usage_json(Usage(7, 30, 20, cached_tokens=5)) == {
        "prompt_tokens": 7,
        "completion_tokens": 30,
        "total_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 5, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 0},
    }
