"""The comparison of a function's derivatives over backends, and with differences."""
