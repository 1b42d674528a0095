"""Poe's side of the wire: queries out, events in, faults named. The only layer that knows aiohttp."""
