"""Poe's bot protocol: requests as queries, files, events as deltas, and faults with their names."""
