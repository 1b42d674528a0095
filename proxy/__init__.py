"""poe-proxy: an OpenAI-compatible gateway in front of Poe that many workers run as one."""

__version__ = "0.1.0"
