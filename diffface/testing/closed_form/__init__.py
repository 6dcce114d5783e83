"""Functions with derivatives in closed form, for every backend."""
