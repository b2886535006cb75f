"""Scripted plays on real sockets: what a connection goes through, acted out by real processes in the local kernel."""
