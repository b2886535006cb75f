"""What a connection costs, and what runs out."""
