"""Environment variables that look like a setting and are none: a misspelt setting must not count as one left out.

A variable is refused when it differs from a setting by about one letter, or only in underscores, in a plural or in how
its unit is written. Short names (``HOST``, ``PORT``) are left alone: too many other programs have one like them.
"""

import functools
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Final

#: Names that people try, and no spelling rule finds.
_OTHER_NAMES: Final = dict.fromkeys(
    ("POE_KEY", "POE_KEYS", "POE_TOKEN", "POE_TOKENS", "POE_API_TOKEN", "POE_API_TOKENS"), "POE_API_KEYS"
)
_SHORTEST: Final = 7
#: One letter more, fewer, wrong or swapped, in names of seven letters and more.
_ALIKE: Final = 0.85
_UNIT_OR_PLURAL: Final = re.compile(r"(SECONDS|SECS|SEC|S)$")


def misspelt(environment: Mapping[str, str], settings: Collection[str], files: Collection[str]) -> list[str]:
    """A problem for each variable that was meant to be a setting.

    Args:
        environment: names in upper case.
        settings: every name that is one.
        files: those of them that may also come as ``NAME_FILE``.
    """
    file_names = frozenset(f"{name}_FILE" for name in files)
    setting_names = frozenset(settings)
    problems = []
    for name, value in sorted(environment.items()):
        if not value or name in setting_names or name in file_names:
            continue
        meant = _OTHER_NAMES.get(name) or _alike(name, file_names if name.endswith("_FILE") else setting_names)
        if meant:
            problems.append(f"{name}: there is no such setting; did you mean {meant}?")
        elif len(name) > _SHORTEST + len("_FILE") and name.removesuffix("_FILE") in setting_names:
            problems.append(f"{name}: only {', '.join(files)} may come from a file")
    return problems


@functools.lru_cache(maxsize=1000)
def _alike(name: str, settings: frozenset[str]) -> str:
    """The setting that was probably meant, "" when there is none."""
    if len(name) < _SHORTEST - 1:
        return ""
    long = sorted(one for one in settings if len(one) >= _SHORTEST)
    same = [one for one in long if _stem(one) == _stem(name)]
    return next(iter([*same[-1:], *get_close_matches(name, long, n=1, cutoff=_ALIKE)]), "")


@functools.lru_cache(maxsize=1000)
def _stem(name: str) -> str:
    return _UNIT_OR_PLURAL.sub("", name.replace("_", ""))
