"""What dialects share about tools: names that every model takes. Pure."""
