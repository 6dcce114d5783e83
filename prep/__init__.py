"""Preparation: signatures of arguments, the prepared callable, reports of what differs."""
