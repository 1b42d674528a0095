"""What a model thought before it answered, as Anthropic's thinking blocks carry it. Pure."""

from typing import Final, Literal

#: Whether a client sees thoughts: as thinking blocks, as blocks whose text is left out, or not at all.
Thoughts = Literal["shown", "omitted", "left_out"]

#: Stands in thoughts that came without a signature; clients want one. It says "poe-proxy: not signed" in base64, and
#: blocks with it are taken out when they come back: Anthropic accepts no signature but its own.
SIGNATURE: Final = "cG9lLXByb3h5OiBub3Qgc2lnbmVk"
