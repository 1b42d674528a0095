"""Logs and metrics of one instance, and the removal of secrets from both."""
