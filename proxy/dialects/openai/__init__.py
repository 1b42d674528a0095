"""What OpenAI's APIs have in common: errors, usage, models, and how a stream ends. Pure."""
