"""What the recorders of prepared programs share."""
