"""What all dialects share for writing streams: short deltas, and lines that every program reads alike. Pure."""
