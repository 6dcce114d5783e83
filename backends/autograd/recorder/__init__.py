"""The compiler for autograd: records a derivation as a straight-line NumPy program."""

from diffface.backends.autograd.recorder.recorder import record

__all__ = ["record"]
