"""What OpenAI's APIs have in common: the statuses and types of errors. Pure."""
