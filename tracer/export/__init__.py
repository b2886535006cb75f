"""The timeline for other programs and for people without a screen: aligned lines, JSON lines."""
