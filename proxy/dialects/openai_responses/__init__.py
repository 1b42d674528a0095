"""OpenAI's Responses, which Codex speaks. Pure."""
