"""The vocabulary between clients and Poe, without a wire format: deltas of an answer, its usage, and failures. Pure."""
