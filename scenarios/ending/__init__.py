"""How connections end, or do not."""
