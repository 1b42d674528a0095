"""OpenAI's chat completions, and its list of models. Pure."""
