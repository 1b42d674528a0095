"""OpenAI's image generations. Pure."""
