"""What was used, and what happened: written to Redis as it happens, for people to look at."""
