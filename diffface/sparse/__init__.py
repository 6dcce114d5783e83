"""Sparse Jacobians and Hessians: patterns, their detection, colorings and compression."""
