"""Poe's REST API: requests as its chat, responses and messages take them, and their answers as deltas."""
