"""Derivatives of your own, bridges between frameworks, and functions that write or solve."""
