"""Packets from a live interface without eBPF: AF_PACKET, headers only, evidence `captured`."""
