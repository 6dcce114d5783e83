"""Arrays that carry a derivative of the caller's: whether the backends see it."""

from diffface.backends.adapter import Adapter
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.prep.arguments.tree import leaves_of


def any_traced(tree: object, *adapters: Adapter) -> bool:
    """Whether an array in ``tree`` carries a derivative, or stands for values to come."""
    found = False
    for value in leaves_of(tree):
        library = library_of(value)
        if library is not None and library.is_traced(value):
            found = check_carried(library, *adapters)
    return found


def check_carried(library: ArrayLibrary, *adapters: Adapter) -> bool:
    """True, if derivatives that arrays of ``library`` carry go through all ``adapters``.

    Raises
    ------
    NotDifferentiableError
        If not.
    """
    for adapter in adapters:
        if not adapter.carries(library):
            raise NotDifferentiableError(
                f"{adapter!r} cannot carry the derivative that {library.backend} is computing: "
                f"the arguments have {library.noun} that is being differentiated or traced. "
                f"Use backend={library.backend!r} here, too, or make the function one of "
                f"{library.backend} by `diffface.bridge`; or pass what no derivative is wanted "
                "of without it."
            )
    return True
