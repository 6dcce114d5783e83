"""SciPy's solvers that take no sparse matrices: they are told, rather than left to fail."""

import sys

from diffface.backends.errors import UnsupportedOperatorError

# The function of SciPy's that runs a solver, what users call it, and what to do.
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
