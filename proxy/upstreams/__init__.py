"""The services that answer, and how bytes reach them."""
