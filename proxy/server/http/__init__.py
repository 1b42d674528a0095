"""HTTP as clients speak it: heads, bodies, answers, errors, and the bounds of all of them."""
