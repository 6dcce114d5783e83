"""A tree of arrays as one flat vector."""

from typing import Any

import numpy as np

from diffface.backends.adapter import Adapter
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import PYTHON
from diffface.backends.registry import Backend
from diffface.operators.call import backend_for
from diffface.operators.options import BackendName
from diffface.optimize.structure import Structure
from diffface.optimize.unravel import Unravel
from diffface.prep.arguments.bind import Call
from diffface.prep.arguments.signature import Leaf


def ravel(tree: Any, *, backend: BackendName | Backend | None = None) -> tuple[Any, Unravel]:
    """A tree of arrays as one flat vector, and the way back.

    Parameters
    ----------
    tree : array, number, or tree of them
        Floating-point arrays of any library, in any nesting of dict, list, tuple, namedtuple and
        dataclass. Integers are taken as floats where they stand alone (``3``, ``np.arange(3)``,
        ``[1, 2]``), as SciPy takes them, and refused inside a tree. What is in a ``Const`` at a
        leaf stays as it is, and has no part in the vector.
    backend : str or backend object, optional
        Whose registered trees are trees as well; matters only for JAX.

    Returns
    -------
    x : numpy.ndarray of shape (n,), float64
        All leaves one after the other (dicts in the order of their sorted keys), each in C order;
        a fresh copy.
    unravel : Unravel
        ``unravel(x)`` is the tree again: same structure, kinds of arrays, shapes and dtypes.

    Raises
    ------
    NotDifferentiableError
        If a leaf is not floating-point.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> x, unravel = dif.ravel({"slope": np.ones(2), "offset": 3.0})
    >>> x
    array([3., 1., 1.])
    >>> unravel(2 * x)
    {'slope': array([2., 2.]), 'offset': 6.0}
    """
    chosen = backend_for(backend, Call((tree,), (), (0,), True))
    return ravel_with(tree, chosen.first_order(), "tree")


def ravel_with(tree: Any, adapter: Adapter, name: str) -> tuple[Any, Unravel]:
    """``ravel`` with the trees that ``adapter`` knows; errors call the tree ``name``."""
    tree = floating(tree)
    structure, values = Structure.of(tree, bare=library_of(tree) is not None)
    places = structure.paths()
    leaves = [_leaf(value, f"{name}{places[i]}") for i, value in values.items()]
    unravel = Unravel(structure, leaves, adapter)
    return unravel.join(list(values.values())), unravel


def floating(tree: Any) -> Any:
    """``tree``, with what SciPy would turn into an array of floats turned into one."""
    if type(tree) in (list, tuple) and tree and all(map(_is_numeric, tree)):
        return np.array(tree, float)
    kind = library_of(tree)
    if kind is not None and kind.describe(tree)[1].kind in "iu":
        return float(tree) if kind is PYTHON else np.asarray(kind.to_numpy(tree), float)
    return tree


def _is_numeric(value: Any) -> bool:
    if type(value) in (list, tuple):
        return bool(value) and all(map(_is_numeric, value))
    return isinstance(value, int | float | np.integer | np.floating) and type(value) is not bool


def _leaf(value: Any, name: str) -> Leaf:
    kind = library_of(value)
    found = type(value).__name__
    if kind is not None:
        leaf = Leaf(kind, *kind.describe(value))
        if leaf.dtype.kind == "f":
            return leaf
        found = leaf.dtype.name
    raise NotDifferentiableError(
        f"`{name}` must be real and floating-point, got {found}; convert it, or take it out of the "
        "parameters."
    )
