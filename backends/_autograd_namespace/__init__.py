"""The array namespace whose functions autograd differentiates."""

from diffface.backends._autograd_namespace._namespace import namespace

__all__ = ["namespace"]
