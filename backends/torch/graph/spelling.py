"""Spelling: how the parts of an emitted line are written.

Knows: names of variables and constants, and the cheapest way to write calls, arguments and views.
Must not know: statements, and in which order they come.

A call of ``torch.mul`` costs half a microsecond less than one of ``torch.ops.aten.mul.Tensor``.
Whether both do the same depends on the arguments; so the binding is tried on some like them, and
taken only if it dispatches to the very same overload with the very same arguments.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from diffface.backends.torch.graph import places
from diffface.backends.torch.graph.graph import aten
from diffface.backends.torch.graph.look import Look, with_tensors
from diffface.backends.torch.host import HOST, run_on_host

# Where torch keeps its generated Python bindings
_MODULES = (
    torch._C._VariableFunctions,
    torch.Tensor,
    torch._C._nn,
    *(getattr(torch._C, name) for name in ("_linalg", "_special", "_fft")),
)
_NUMERIC = (
    aten.add.Tensor,
    aten.div.Tensor,
    aten.mul.Tensor,
    aten.rsub.Scalar,
    aten.sub.Tensor,
)
# In lower precisions an operation rounds a number differently than a 0-d tensor
_EXACT = (torch.float32, torch.float64, torch.complex64, torch.complex128)


class Spelling:
    """The names in use.

    Attributes
    ----------
    constants : dict
        What the emitted function finds among its globals.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._variables: dict[fx.Node, str] = {}

    def variable(self, node: fx.Node, name: str) -> str:
        """Say that the result of ``node`` is called ``name``."""
        self._variables[node] = name
        return name

    def constant(self, value: Any, name: str = "k") -> str:
        """Return the name of a constant, the same one for the same object."""
        if id(value) not in self._names:
            self._names[id(value)] = name = f"{name}_{len(self.constants)}"
            self.constants[name] = value
        return self._names[id(value)]

    def show(self, x: Any) -> str:
        """Write an argument."""
        if isinstance(x, fx.Node):
            return self._variables[x]
        if isinstance(x, (list, tuple)):
            return f"({''.join(f'{self.show(item)}, ' for item in x)})"
        # Most slices end at the largest integer, for which a literal is no worse
        if x is None or isinstance(x, (bool, int, str)):
            return repr(x)
        return self.constant(x)

    def arguments(self, args: Any, kwargs: dict[str, Any], node: fx.Node) -> str:
        """Write arguments of the call that ``node`` stands for."""
        shown = [self.number(x, node) or self.show(x) for x in args]
        return ", ".join([*shown, *(f"{name}={self.show(x)}" for name, x in kwargs.items())])

    def number(self, x: Any, node: fx.Node) -> str | None:
        """Write a number as a 0-d tensor, which spares torch from making one at every run."""
        if node.target not in _NUMERIC or isinstance(x, (fx.Node, bool)):
            return None
        value: Look = node.meta["val"]
        first: Any = node.args[0]
        if (
            value.device.type != "cpu"
            or value.dtype not in _EXACT
            or first.meta["val"].dtype != value.dtype
        ):
            return None
        return self.constant(torch.tensor(x, dtype=value.dtype, device="cpu"), "n")

    def zeros(self, shape: Any, like: Any, look: Look, bare: bool = False) -> str:
        """Write new zeros; ``bare`` if nobody watches what is done."""
        if not bare or places.empty is None or look.device.type != "cpu":
            return f"{self.show(like)}.new_zeros({self.show(shape)})"
        empty, dtype = self.constant(places.empty, "empty"), self.constant(look.dtype, "dtype")
        return f"{empty}({tuple(look.shape)}, {look.stride()}, {dtype}).zero_()"

    def part(
        self, shown: str, whole: Look, where: tuple[Any, ...], bare: bool = False
    ) -> str | None:
        """Write a view of a part of ``whole``.

        Parameters
        ----------
        shown : str
            The tensor as it is written.
        whole : Look
            What it looks like.
        where : tuple
            ``(dim, index)``, or ``(dim, start, end, step)``.
        bare : bool
            Whether it is nothing but memory, row by row, and surely of this shape.

        Returns
        -------
        str or None
            None where there is no cheap way.
        """
        if bare and places.view is not None and whole.device.type in ("cpu", "cuda"):
            lengths, steps, start = places.place(tuple(whole.shape), where)
            view = self.constant(places.view, "view")
            return f"{view}({shown}, {lengths}, {steps}, {start})"
        if len(where) == 2:
            return f"{shown}.select({where[0]}, {where[1]})"
        dim, start, end, step = where
        if dim % whole.dim() == 0:
            # Indexing with a ready slice is the cheapest of all views
            return f"{shown}[{self.constant(slice(start, end, step), 's')}]"
        if step != 1:
            return None
        begin, stop, _ = slice(start, end).indices(whole.shape[dim])
        return f"{shown}.narrow({dim}, {begin}, {max(stop - begin, 0)})"


# Bindings: the fastest Python callable for an operation


def binding(
    operation: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Callable[..., Any]:
    """Return the fastest callable that does what ``operation`` does to arguments like these.

    Parameters
    ----------
    operation : OpOverload
        What is to be done.
    args, kwargs : tuple, dict
        Its arguments, with looks for tensors.
    result : object
        What the result looks like.
    """
    if operation is HOST:
        return run_on_host
    return _remembered(_binding, operation, args, kwargs, result)  # type: ignore[no-any-return]


def binding_into(
    operation: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> Callable[..., Any] | None:
    """Like `binding`, a callable that also takes ``out=`` and writes there; None without one."""
    return _remembered(_binding_into, operation, args, kwargs, result)  # type: ignore[no-any-return]


# Bindings by what they depend on: which arguments are tensors, and of which types the others are
_known: dict[Any, Any] = {}


def _remembered(
    find: Callable[..., Any], operation: OpOverload, args: Any, kwargs: Any, result: Any
) -> Any:
    key = find, id(operation), _kind(args), _kind(kwargs)
    if key not in _known:
        if len(_known) > 10_000:
            _known.clear()
        args, kwargs, result = (with_tensors(x) for x in (args, kwargs, result))
        _known[key] = find(operation, args, kwargs, result)
    return _known[key]


def _kind(x: Any) -> Any:
    if isinstance(x, Look):
        return x.dtype, not x.shape
    if isinstance(x, (list, tuple)):
        return tuple(map(_kind, x))
    if isinstance(x, dict):
        return tuple((name, _kind(each)) for name, each in x.items())
    return x if x is None or isinstance(x, (bool, str)) else type(x)


def _binding(operation: OpOverload, args: Any, kwargs: Any, result: Any) -> Callable[..., Any]:
    wanted = _normal(operation, args, kwargs)
    for candidate in _candidates(operation):
        with _Recorder(result) as recorder, torch.no_grad():
            try:
                candidate(*args, **kwargs)
            except Exception:  # noqa: BLE001, S112 - dislikes the arguments: it is no candidate
                continue
        found = _normal(operation, recorder.args, recorder.kwargs)
        if recorder.calls == 1 and recorder.operation is operation and _same(wanted, found):
            return candidate
    # The overload itself, without the Python frame of OpOverload.__call__
    return operation._op


def _binding_into(operation: OpOverload, args: Any, kwargs: Any, result: Any) -> Any:
    wanted = {**_normal(operation, args, kwargs), "out": result}
    for candidate in _candidates(operation):
        with _Recorder(result) as recorder, torch.no_grad():
            try:
                candidate(*args, **kwargs, out=result)
            except Exception:  # noqa: BLE001, S112 - takes no out
                continue
        found, written = recorder.operation, recorder.calls == 1
        if written and found._schema.name == operation._schema.name and _same(
            wanted, _normal(found, recorder.args, recorder.kwargs)
        ):  # fmt: skip
            return candidate
    return None


def brief(
    operation: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Leave out the arguments that repeat the defaults: each costs time to parse."""
    defaults = {
        a.name: a.default_value for a in operation._schema.arguments if a.has_default_value()
    }
    names = [a.name for a in operation._schema.arguments]
    kept = list(args)
    while kept and names[len(kept) - 1] in defaults:
        if not _same(kept[-1], defaults[names[len(kept) - 1]]):
            break
        kept.pop()
    return tuple(kept), {
        name: x
        for name, x in kwargs.items()
        if name not in defaults or not _same(x, defaults[name])
    }


class _Recorder(TorchDispatchMode):
    """Notes what is dispatched, and runs nothing."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what torch would do about it takes seconds to import, and time at every call

    def __init__(self, result: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._result = result
        self.calls = 0
        self.operation: Any = None
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        self.operation, self.args, self.kwargs = func, args, kwargs or {}
        return self._result


def _candidates(operation: OpOverload) -> Iterator[Callable[..., Any]]:
    name = operation._schema.name.partition("::")[2]
    if operation.namespace == "aten":
        for module in _MODULES:
            found = getattr(module, name, None)
            if found is not None:
                yield found


def _normal(operation: OpOverload, args: Any, kwargs: Any) -> dict[str, Any]:
    arguments = operation._schema.arguments
    defaults = {a.name: a.default_value for a in arguments if a.has_default_value()}
    return {**defaults, **dict(zip((a.name for a in arguments), args, strict=False)), **kwargs}


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, torch.Tensor) or isinstance(y, torch.Tensor):
        return x is y
    if isinstance(x, dict) and isinstance(y, dict):
        return x.keys() == y.keys() and all(_same(x[key], y[key]) for key in x)
    if isinstance(x, (list, tuple)) and isinstance(y, (list, tuple)):
        return len(x) == len(y) and all(map(_same, x, y))
    return type(x) is type(y) and bool(x == y)
