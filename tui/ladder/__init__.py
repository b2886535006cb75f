"""The ladder: one connection's events as rows between client and server."""
