"""The errors that every floor shares.

Each public error also derives from the built-in that a caller would catch. ``CannotRecord`` never
leaves the library: it is how an adapter's compiler says "run this one eagerly".
"""


class DifffaceError(Exception):
    """Base of every error that diffface raises itself."""

    __module__ = "diffface"


class BackendNotAvailableError(DifffaceError, ImportError):
    """A known backend whose library is not installed, or cannot be imported."""

    __module__ = "diffface"


class UnknownBackendError(DifffaceError, ValueError):
    """A backend name that no registry row, entry point or registration carries."""

    __module__ = "diffface"


class InvalidArgumentError(DifffaceError, ValueError):
    """An argument whose structure, shape, dtype or value does not fit the call."""

    __module__ = "diffface"


class PreparationMismatchError(DifffaceError, ValueError):
    """A prepared callable was called with arguments of another signature."""

    __module__ = "diffface"


class NotDifferentiableError(DifffaceError, TypeError):
    """The function or an argument cannot be differentiated as asked."""

    __module__ = "diffface"


class UnsupportedOperatorError(DifffaceError, NotImplementedError):
    """The backend cannot do this operator; the message says which can."""

    __module__ = "diffface"


class SparsityError(DifffaceError, ValueError):
    """A pattern lacks an entry that is not zero, or cannot be found, or would be dense."""

    __module__ = "diffface"


class SolverError(DifffaceError, RuntimeError):
    """A differential equation that could not be solved."""

    __module__ = "diffface"


class MissingRuleError(UnsupportedOperatorError):
    """A function that ``f`` calls has no derivative in the mode that was asked for."""

    __module__ = "diffface"


class PreparationWarning(UserWarning):
    """A prepared call runs slower than it could, and why."""

    __module__ = "diffface"


class CannotRecord(Exception):
    """A program depends on values and must run eagerly.

    Parameters
    ----------
    reason : str
        What the user's function did, in words: "a comparison decided a branch".
    line : str or None
        Where in the user's code it happened, beginning with ``file:line``, if known.
    """

    def __init__(self, reason: str, line: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class Disagreement(CannotRecord):
    """A recorded program computes something else than a plain call of its function."""
