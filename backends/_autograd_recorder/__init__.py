"""The compiler for autograd: records a derivation as a straight-line NumPy program."""

from diffface.backends._autograd_recorder._recorder import record

__all__ = ["record"]
