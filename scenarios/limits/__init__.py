"""Options and limits: what can be set, and what it changes."""
