"""One connection from its birth to its TIME_WAIT: the scenarios about states."""
