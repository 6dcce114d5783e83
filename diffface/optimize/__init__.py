"""Functions as optimizers and samplers want them."""
