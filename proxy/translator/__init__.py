"""Between the two dialects: OpenAI requests become Poe queries, Poe events become OpenAI deltas. Pure."""
