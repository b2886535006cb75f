"""Load: many clients against one of the server models, both real processes, and what it cost."""
