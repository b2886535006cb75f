"""What happens between the first byte and the last."""
