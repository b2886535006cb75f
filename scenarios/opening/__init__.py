"""How connections begin, or do not."""
