"""The top floor: the screens, and the command line that opens them."""
