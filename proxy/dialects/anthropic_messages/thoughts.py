"""What a model thought before it answered, as Anthropic's thinking blocks carry it. Pure."""

from typing import Final, Literal

#: Whether a client sees thoughts: as thinking blocks, as blocks whose text is left out, or not at all.
Thoughts = Literal["shown", "omitted", "left_out"]

#: Stands where Anthropic's own models sign their thoughts, which clients send back with the conversation. It says
#: "poe-proxy: not signed" in base64; blocks with it are taken out, since nothing but Anthropic's signature is accepted.
SIGNATURE: Final = "cG9lLXByb3h5OiBub3Qgc2lnbmVk"
