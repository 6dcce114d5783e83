"""Plain NumPy functions, differentiated by evaluating them."""
