"""The local Poe with two keys of one account and one of another; prompts of 256 tokens are cached."""

from collections.abc import AsyncIterator
from typing import Final

import pytest

from tests.support.local_poe import running_local_poe

_ACCOUNTS: Final = {"key-a1": "a", "key-a2": "a", "key-b": "b"}


@pytest.fixture
async def poe_url() -> AsyncIterator[str]:
    async with running_local_poe(*_ACCOUNTS, account_of=_ACCOUNTS.__getitem__, least_cached_tokens=256) as url:
        yield url
