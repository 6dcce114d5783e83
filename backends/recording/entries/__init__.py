"""Entries of sparse derivatives, computed where they are rather than gathered from a batch."""
