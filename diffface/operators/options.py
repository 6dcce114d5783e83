"""Keywords common to the operators, their checks, and the types that overloads name."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, TypeVar

import numpy as np

from diffface.backends.errors import InvalidArgumentError
from diffface.backends.registry import Backend
from diffface.prep.operator import Mode, Settings


class HasShape(Protocol):
    """An array of any library; no tree of arrays."""

    @property
    def shape(self) -> Any: ...

    @property
    def dtype(self) -> Any: ...


class Module(Protocol):
    """A ``torch.nn.Module``, whose derivative is a dict."""

    def named_parameters(self) -> Iterator[tuple[str, Any]]: ...


# One active argument, whose derivative has its type.
Argument = TypeVar("Argument")

# One array, whose Jacobian and Hessian have its type.
Array = TypeVar("Array", bound=HasShape)

# What a NumPy array has; a matrix has other axes than its argument, which its type would say.
Scalar = TypeVar("Scalar", bound=np.generic)


# The names of diffface's own backends. One from outside is passed as an object, for type checkers.
BackendName = Literal["jax", "torch", "autograd", "numpy", "complex-step"]


class BareOptions(TypedDict, total=False):
    """Keywords that leave the structure of the result as it is.

    Attributes
    ----------
    backend : str or backend object, optional
        Who differentiates. By default the innermost ``with diffface.using(...)``, else the
        framework that the first active array belongs to, else ``"numpy"``.
    kwargs : mapping, optional
        Constants passed to ``f`` by name.
    """

    backend: BackendName | Backend | None
    kwargs: Mapping[str, Any] | None


class PointOptions(BareOptions, total=False):
    """Keywords of every operator and of functions at a fixed point.

    Attributes
    ----------
    argnums : int or sequence of int, optional
        Which arguments are active; negative numbers count from the end. An int gives the bare
        result, a sequence a tuple. By default all that are not wrapped in ``Const``: one gives the
        bare result, several a tuple.
    has_aux : bool, default False
        ``f`` returns ``(value, aux)``; aux is not differentiated and comes last in the result.
    """

    argnums: int | Sequence[int] | None
    has_aux: bool


class Options(PointOptions, total=False):
    """Keywords of every operator.

    Attributes
    ----------
    out : array or tree of arrays, optional
        NumPy or torch arrays of the structure of the result, which are overwritten and returned.
    in_axes : int, or tuple of int, None and trees of them, optional
        The derivative at each of many points: along which axis of the arguments to go from point to
        point. An int is for every array, a tuple has one entry for each argument, None is what all
        points share; as in ``jax.vmap``. The points come first in every result, and in tangents and
        cotangents.
    chunk_size : int, optional
        With ``in_axes``, how many points to compute at once; bounds memory. By default all.
    """

    out: Any
    in_axes: Any
    chunk_size: int | None


class ScalarOptions(Options, total=False):
    """Keywords of derivatives with respect to one number.

    Attributes
    ----------
    holomorphic : bool, default False
        ``f`` is a holomorphic function of a complex argument; the result is its complex derivative.
    """

    holomorphic: bool


class DenseOptions(Options, total=False):
    """Keywords of Jacobians and Hessians that are not sparse.

    Attributes
    ----------
    mode : {"auto", "forward", "reverse"}
        By columns or by rows; auto compares the sizes of input and output, and is
        forward-over-reverse for Hessians.
    chunk_size : int, optional
        How many columns or rows, or with ``in_axes`` points, to compute at once; bounds memory. By
        default all.
    holomorphic : bool, default False
        For `jacobian`: ``f`` is a holomorphic function of complex arguments.
    """

    mode: Mode
    holomorphic: bool


class MatrixOptions(DenseOptions, total=False):
    """Keywords of Jacobians and Hessians.

    Attributes
    ----------
    sparsity : {"trace", "probe"} or matrix, optional
        Derive the entries of a pattern alone, and return sparse matrices. ``"trace"`` finds one
        that holds at every point, ``"probe"`` one that holds near the arguments given; a matrix
        (an array, one of ``scipy.sparse``, a `Sparsity`) is the pattern.
    format : {"csr", "csc", "coo"}, optional
        Of sparse matrices; by default ``csr_array`` for NumPy, ``torch.sparse_csr`` for torch, and
        ``BCOO`` for JAX.
    check : {"once", "always"}
        Whether the derivative along a random direction is compared with the matrix at preparation
        alone, or at every call.
    """

    sparsity: Any
    format: Literal["csr", "csc", "coo"] | None
    check: Literal["once", "always"]


class BareMatrixOptions(BareOptions, total=False):
    """Keywords of Jacobians and Hessians that leave the structure of the result as it is."""

    mode: Mode
    chunk_size: int | None


class SeededOptions(Options, total=False):
    """Keywords of operators that take tangents or cotangents.

    Attributes
    ----------
    batched : bool, default False
        Every leaf of the tangents or cotangents has a leading batch axis; so has the result.
    chunk_size : int, optional
        How many of a batch, or with ``in_axes`` points, to compute at once; bounds memory. By
        default all.
    """

    batched: bool


class PreparationOptions(TypedDict, total=False):
    """Further keywords of every preparation.

    Attributes
    ----------
    on_mismatch : {"error", "reprepare"}
        What to do at a call whose signature differs from the prepared one.
    fallback : {"eager", "error"}
        What to do with a function that depends on values and so cannot be recorded.
    """

    on_mismatch: Literal["error", "reprepare"]
    fallback: Literal["eager", "error"]


class PrepareOptions(MatrixOptions, SeededOptions, PreparationOptions, total=False):
    """Keywords of preparations: those of the operator, and those of every preparation."""


class PrepareDenseOptions(DenseOptions, PreparationOptions, total=False):
    """Keywords of preparations of matrices that are not sparse."""


class BarePrepareOptions(BareOptions, total=False):
    """Keywords of preparations that leave the structure of the result as it is."""

    fallback: Literal["eager", "error"]


class BarePrepareMatrixOptions(BareMatrixOptions, BarePrepareOptions, total=False):
    """Those of Jacobians and Hessians."""


PREPARATION = PreparationOptions.__optional_keys__

# Options of every operator that do not affect the derivation.
NO_SETTINGS = Options.__optional_keys__ - {"has_aux", "chunk_size"}


def settings(options: Mapping[str, Any], allowed: frozenset[str], name: str) -> Settings:
    """The options that change what is derived, checked.

    Raises
    ------
    TypeError
        If an option is unknown.
    InvalidArgumentError
        If its value makes no sense.
    """
    for key in options:
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            nearest = f" Did you mean `{close[0]}`?" if close else ""
            raise TypeError(
                f"{name}() got an unexpected keyword argument `{key}`.{nearest} "
                f"It takes {', '.join(f'`{k}`' for k in sorted(allowed))}."
            )
    if options.get("in_axes") is not None and options.get("sparsity") is not None:
        raise InvalidArgumentError(
            "`in_axes` is not for sparse matrices; leave `sparsity` out, or call once a point."
        )
    for name in ("format", "check"):
        if options.get(name) is not None and options.get("sparsity") is None:
            raise InvalidArgumentError(f"`{name}` is for sparse matrices; pass `sparsity`, too.")
    mode = options.get("mode", "auto")
    if mode not in ("auto", "forward", "reverse"):
        raise InvalidArgumentError(f"`mode` must be 'auto', 'forward' or 'reverse', got {mode!r}.")
    chunk_size = options.get("chunk_size")
    if chunk_size is not None:
        whole = isinstance(chunk_size, int | np.integer) and not isinstance(chunk_size, bool)
        if not whole or chunk_size < 1:
            raise InvalidArgumentError(
                f"`chunk_size` must be a positive integer or None, got {chunk_size!r}."
            )
        chunk_size = int(chunk_size)
        if options.get("in_axes") is None and not allowed & {"mode", "batched"}:
            raise InvalidArgumentError("`chunk_size` is for many points; pass `in_axes`, too.")
    return Settings(
        bool(options.get("has_aux")), bool(options.get("batched")), chunk_size, mode,
        bool(options.get("holomorphic")),
    )  # fmt: skip


def check_choice(options: Mapping[str, Any], name: str, choices: tuple[str, str]) -> Any:
    """The value of an option that is one of two words; the first is the default."""
    value = options.get(name, choices[0])
    if value not in choices:
        raise InvalidArgumentError(
            f"`{name}` must be {choices[0]!r} or {choices[1]!r}, got {value!r}."
        )
    return value
