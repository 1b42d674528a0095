"""poe-proxy: one endpoint with OpenAI's and Anthropic's APIs in front of Poe that many workers run as one."""

__version__ = "0.1.0"
#: How the proxy names itself to the servers that it asks.
USER_AGENT = f"poe-proxy/{__version__}"
