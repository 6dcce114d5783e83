"""The options of functions for optimizers and samplers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from diffface.backends.registry import Backend
from diffface.operators.call import refuse
from diffface.operators.options import BackendName, check_choice, settings
from diffface.sparse.matrices import check_format


class FunctionOptions(TypedDict, total=False):
    """Keywords of everything that hands a function to an optimizer.

    Attributes
    ----------
    backend : str or backend object, optional
        Who differentiates; see :func:`diffface.gradient`.
    argnums : int or sequence of int, default 0
        Which arguments are the parameters; the others are constants, in ``Const`` or not.
    kwargs : mapping, optional
        Constants passed to ``f`` by name.
    fallback : {"eager", "error"}
        What to do with a function that depends on values and so cannot be recorded.
    """

    backend: BackendName | Backend | None
    argnums: int | Sequence[int] | None
    kwargs: Mapping[str, Any] | None
    fallback: Literal["eager", "error"]


class ProblemOptions(FunctionOptions, total=False):
    """Keywords where there are Jacobians and Hessians, too.

    Attributes
    ----------
    sparsity : {"trace", "probe"} or matrix, optional
        Jacobians and Hessians are sparse matrices with this pattern; see :func:`diffface.jacobian`.
    format : {"csr", "csc", "coo"}, default "csr"
        Of sparse matrices; ``solve_ivp`` and ``spilu`` work with ``"csc"``.
    check : {"once", "always"}
        Whether a sparse matrix is compared with a derivative at every evaluation.
    """

    sparsity: Any
    format: Literal["csr", "csc", "coo"] | None
    check: Literal["once", "always"]


def check(f: Callable[..., Any], options: Mapping[str, Any], typed: Any, name: str) -> None:
    """Refuse what is no function, and options that ``typed`` has not, of the function ``name``."""
    if not callable(f):
        refuse(f)
    settings(options, typed.__optional_keys__, name)
    check_choice(options, "fallback", ("eager", "error"))
    check_choice(options, "check", ("once", "always"))
    check_format(options.get("format"))
