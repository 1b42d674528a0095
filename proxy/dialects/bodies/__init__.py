"""What all dialects share for reading bodies: JSON within bounds, strict fields, and what is wrong with one. Pure."""
