"""Sparse Jacobians and Hessians, called once or prepared."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

import numpy as np

from diffface.backends.errors import (
    InvalidArgumentError,
    NotDifferentiableError,
    PreparationMismatchError,
)
from diffface.backends.libraries import library_of
from diffface.backends.registry import Backend
from diffface.operators.options import PREPARATION, check_choice, settings
from diffface.prep.arguments.bind import Call, bind, bind_like, named
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.mismatch import report, resembles
from diffface.prep.arguments.signature import Signature
from diffface.prep.operator import Operator, Recipe, Settings
from diffface.prep.plan import Plan, plan_for
from diffface.prep.portable import Portable, pack, unpack
from diffface.sparse.pattern import Sparsity
from diffface.sparse.specialised import Specialised

# From what `backend=` says and a call to who derives, and from a call alone.
Choose = Callable[[Any, Call], Backend]
Settled = Callable[[Call], Backend]

# Signatures that are kept at the same time.
CAPACITY = 16


def call(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], args: Sequence[object],
    options: Mapping[str, Any], choose: Choose,
) -> Any:  # fmt: skip
    """Evaluate a sparse derivative once: found, colored and derived, and nothing kept."""
    chosen = _settings(operator, wanted, options, operator.keywords, operator.names[wanted])
    return _specialised(operator, wanted, f, args, options, choose, chosen).complete().evaluate()


def pattern(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], args: Sequence[object],
    options: Mapping[str, Any], choose: Choose,
) -> Sparsity:  # fmt: skip
    """The pattern alone, colored."""
    chosen = _settings(operator, wanted, options, operator.keywords, operator.names[wanted])
    return _specialised(operator, wanted, f, args, options, choose, chosen).sparsity


class SparsePrepared:
    """A sparse Jacobian or Hessian of a function, made ready to be computed often.

    It is called as a dense one is (see `Prepared`), and returns sparse matrices, of the same
    structure at every call.

    Attributes
    ----------
    sparsity : Sparsity
        The pattern of the signature that came last: its shape, entries and colors, and why it is
        dense, if it is. Several arguments, and the leaves of a tree, are side by side in it.
    strategy : str
        How calls run; see `Prepared`. ``"lazy"`` before the first call of a lazy preparation.
    native : object
        The framework's own callable that computes the entries; None when calls run eagerly.
    """

    def __init__(
        self, operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any],
        args: Sequence[object], options: Mapping[str, Any], settle: Callable[[], Settled],
    ) -> None:  # fmt: skip
        allowed = (operator.keywords - {"out"}) | PREPARATION
        name = f"prepare_{operator.names[wanted]}"
        self._settings = _settings(operator, wanted, options, allowed, name)
        self._strict = bool(args) and (
            check_choice(options, "on_mismatch", ("error", "reprepare")) == "error"
        )
        check_choice(options, "fallback", ("eager", "error"))
        self._operator, self._wanted, self._f = operator, wanted, f
        self._options, self._settle = dict(options), settle
        # What is named or in use at the preparation, or at the first call of a lazy one, stays.
        self._chosen: Settled | None = None
        self._fixed: Signature | None = None
        self._known: OrderedDict[Signature, Specialised] = OrderedDict()
        self._lock = RLock()
        if args:
            self._fixed = self._specialise(args, options.get("kwargs")).plan.signature

    def __call__(
        self, *args: Any, out: None = None, kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if out is not None:
            _refuse_out()
        return self._at(args, kwargs, Specialised.result)

    def data(self, *args: Any, out: Any = None, kwargs: Mapping[str, Any] | None = None) -> Any:
        """The values alone, in the order of :meth:`structure`; shape (nnz,).

        Parameters
        ----------
        *args
            As of a call.
        out : array of NumPy or torch, optional
            Overwritten and returned.
        """
        values = self._at(args, kwargs, Specialised.data)
        return values if out is None else _written(values, out)

    def structure(self) -> tuple[Any, Any]:
        """Rows and columns of the entries, row by row; of a Hessian, those of its lower triangle.

        Returns
        -------
        rows, cols : ndarray of int, shape (nnz,)
        """
        return self._last().structure()

    @property
    def sparsity(self) -> Sparsity:
        """The pattern of the signature that came last."""
        return self._last().sparsity

    @property
    def strategy(self) -> str:
        """How calls run."""
        return self._last().strategy if self._known else "lazy"

    @property
    def native(self) -> object:
        """The framework's own callable, if there is one."""
        return self._last().native if self._known else None

    def __repr__(self) -> str:
        name = getattr(self._f, "__name__", repr(self._f))
        what = f"sparse {self._operator.names[self._wanted]} of {name}"
        if not self._known:
            return f"<prepared {what}, lazy>"
        last = self._last()
        return (
            f"<prepared {what} by {last.plan.outer!r}, strategy {self.strategy!r}, "
            f"{last.sparsity!r}>"
        )

    def __copy__(self) -> SparsePrepared:
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What it was made of; pattern and program are found anew at the first call.
        return {
            **{k: v for k, v in vars(self).items() if k not in ("_known", "_lock")},
            "_f": Portable(self._f),
            "_fixed": None if self._fixed is None else pack(self._fixed),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        fixed = state["_fixed"]
        self._fixed = None if fixed is None else unpack(*fixed)
        self._known, self._lock = OrderedDict(), RLock()

    def _last(self) -> Specialised:
        if not self._known:
            raise InvalidArgumentError(
                "A lazy preparation has no pattern before its first call; prepare with example "
                "arguments."
            )
        return next(reversed(self._known.values()))

    def _at(
        self, args: Sequence[Any], kwargs: Mapping[str, Any] | None, wanted: Callable[..., Any]
    ) -> Any:
        if self._known and self._marks_agree(args):
            try:
                return wanted(self._last(), args, kwargs)
            except PreparationMismatchError:
                pass  # perhaps another order of keys, or another signature that is known
        return wanted(self._specialise(args, kwargs), args, kwargs)

    def _marks_agree(self, args: Sequence[Any]) -> bool:
        """Whether ``Const`` stands where it did; without examples it says what is constant."""
        if self._fixed is not None or self._options.get("argnums") is not None:
            return True
        active = tuple(i for i, a in enumerate(args) if not isinstance(a, Const))
        return active == self._last().plan.signature.active

    def _specialise(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Specialised:
        with self._lock:
            call, options = self._bound(args, kwargs)
            self._chosen = self._chosen or self._settle()
            recipe = Recipe(self._operator, self._wanted, self._f, self._settings)
            backend = self._chosen(call)
            plan, primals, constants = plan_for(recipe, backend, call)
            signature = plan.signature
            if self._strict and self._fixed and not resembles(signature, self._fixed):
                raise PreparationMismatchError(report(self._fixed, signature, self._f))
            if signature not in self._known:
                _check_values(plan, primals, constants)
                new = Specialised(plan, self._f, backend, primals, constants, options).complete()
                count = len(call.values) - len(call.keywords)
                new.prepare(call.values[:count], options)
                self._known[signature] = new
            self._known.move_to_end(signature)
            while len(self._known) > CAPACITY:
                self._known.popitem(last=False)
            return self._known[signature]

    def _bound(
        self, args: Sequence[Any], kwargs: Mapping[str, Any] | None
    ) -> tuple[Call, dict[str, Any]]:
        """The arguments, active as they were at the preparation, and the options with keywords."""
        given = self._options.get("kwargs") if kwargs is None else kwargs
        if self._fixed is None:
            call = bind(args, self._options.get("argnums"), given)
        else:
            call = bind_like(self._fixed, args, named(given or {}))
        return call, {**self._options, "kwargs": None if given is None else named(given)}


def _specialised(
    operator: Operator, wanted: tuple[int, ...], f: Callable[..., Any], args: Sequence[object],
    options: Mapping[str, Any], choose: Choose, chosen: Settings,
) -> Specialised:  # fmt: skip
    bound = bind(args, options.get("argnums"), options.get("kwargs"))
    backend = choose(options.get("backend"), bound)
    recipe = Recipe(operator, wanted, f, chosen)
    plan, primals, constants = plan_for(recipe, backend, bound)
    _check_values(plan, primals, constants)
    return Specialised(plan, f, backend, primals, constants, options)


def _check_values(plan: Plan, primals: Sequence[Any], constants: Sequence[Any]) -> None:
    """Refuse arrays that have no values yet: patterns are checked with values."""
    if not plan.is_traced(primals, constants):
        return
    pairs = [*zip(primals, plan.signature.primals, strict=True)]
    pairs += zip(constants, plan.signature.constants, strict=True)
    for value, leaf in pairs:
        try:
            has_values = np.asarray(leaf.library.to_numpy(value)).dtype.kind != "O"
        except (TypeError, RuntimeError):  # as jax and torch say it
            has_values = False
        if not has_values:
            raise NotDifferentiableError(
                "The pattern of a sparse derivative is checked with values, and an argument is "
                "being differentiated or traced. Prepare the derivative before, with plain "
                "arrays, and call it there."
            )


def _settings(
    operator: Operator, wanted: tuple[int, ...], options: Mapping[str, Any],
    allowed: frozenset[str], name: str,
) -> Settings:  # fmt: skip
    from diffface.sparse.matrices import check_format

    if options.get("out") is not None:
        _refuse_out()
    check_format(options.get("format"))
    check_choice(options, "check", ("once", "always"))
    return settings(options, allowed, name)


def _refuse_out() -> None:
    raise InvalidArgumentError(
        "`out` is not for sparse matrices, which are new at every call; the method `data(..., "
        "out=)` of a prepared one writes their values into an array."
    )


def _written(values: Any, out: Any) -> Any:
    kind = library_of(out)
    if kind is None or not kind.writable or kind.why_read_only(out):
        raise InvalidArgumentError(
            f"`out` must be an array that can be written to, got {type(out).__name__}."
        )
    source = library_of(values)
    assert source is not None
    (shape, dtype, _), (found, given, _) = source.describe(values), kind.describe(out)
    if found != shape or not np.can_cast(dtype, given, "safe"):
        raise InvalidArgumentError(
            f"`out` must have shape {shape} and dtype {dtype.name}, got {found} and {given.name}."
        )
    out[...] = values if kind is source else source.to_numpy(values)
    return out
