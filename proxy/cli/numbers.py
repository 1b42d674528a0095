"""Numbers as options: within a range, and really numbers."""

import math
from typing import Any

import click


class SecondsRange(click.FloatRange):
    """A number of seconds within bounds. ``nan`` is in no range, though click's own comparison lets it pass."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return seconds
