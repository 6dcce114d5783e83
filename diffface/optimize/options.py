"""The options of functions for optimizers and samplers."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from diffface.backends.errors import UnsupportedOperatorError
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


# SciPy's solvers that take no sparse matrices, by the function that runs each: what users call it,
# and what to do.
_HESSP = "pass `hessp=problem.hessp` in place of `hess`"
_DENSE = {
    "_root_hybr": ("root(method='hybr')", "use method='krylov' or `least_squares`"),
    "_root_leastsq": ("root(method='lm')", "use `least_squares`"),
    "leastsq": ("leastsq", "use `least_squares`"),
    "fsolve": ("fsolve", "use `least_squares`"),
    "_minimize_trustregion_exact": ("minimize(method='trust-exact')", "use 'trust-constr'"),
    "_minimize_dogleg": ("minimize(method='dogleg')", "use 'trust-constr'"),
    "_minimize_trust_ncg": ("minimize(method='trust-ncg')", _HESSP),
    "_minimize_trust_krylov": ("minimize(method='trust-krylov')", _HESSP),
}


def refuse_dense_solvers() -> None:
    """Raise if the solver that is running takes dense matrices alone.

    Raises
    ------
    UnsupportedOperatorError
        It names the solver, and what to use in its place.
    """
    frame = sys._getframe(1)
    while frame is not None:
        found = _DENSE.get(frame.f_code.co_name)
        if found is not None and frame.f_globals.get("__name__", "").startswith("scipy.optimize"):
            name, instead = found
            raise UnsupportedOperatorError(
                f"SciPy's {name} takes no sparse matrices; {instead}, or leave `sparsity` out."
            )
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
