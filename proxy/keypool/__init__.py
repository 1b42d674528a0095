"""Which Poe key serves which request: leases, settlements and cooldowns, shared by all workers through Redis."""
