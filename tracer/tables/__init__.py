"""The kernel's socket tables, read again and again: what a plain user may know. Evidence `sampled`."""
