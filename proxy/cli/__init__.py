"""The commands of ``python -m proxy``."""
