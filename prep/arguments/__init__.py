"""The arguments of a call: what they are, and which are active."""
