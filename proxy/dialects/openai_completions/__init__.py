"""OpenAI's legacy completions. Pure."""
