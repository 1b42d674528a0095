"""Poe's REST API on loopback: chat, responses and messages, with caching, thinking and tools, and no model behind."""
