"""The array namespace whose functions autograd differentiates."""

from diffface.backends.autograd.namespace.namespace import namespace

__all__ = ["namespace"]
