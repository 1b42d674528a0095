"""What Poe tells of itself and of an account: its list of bots, and what queries cost. Pure."""
