"""What stands between a dialect and an upstream: limits, token counts, JSON that is checked, answers that are none."""
