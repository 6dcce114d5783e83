"""What users call, and its mathematics."""
