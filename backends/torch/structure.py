"""What the results of one operation of torch depend on, where its arguments decide."""

from collections.abc import Callable
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import fx

from diffface.backends.recording import dependence as dep
from diffface.backends.recording.dependence import Maybe

PRODUCTS = ("mm", "bmm", "mv", "dot")


class Reader(Protocol):
    """What has read the graph so far."""

    def of(self, x: Any) -> Maybe:
        """What a node depends on."""

    def known(self, x: Any) -> Any:
        """The value of a constant; None where it is not known."""

    def moved(self, node: fx.Node) -> Any:
        """What an operation that moves elements returns."""


def array_of(x: Any) -> Any:
    """A tensor, or a number, as a NumPy array."""
    return x.resolve_conj().resolve_neg().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _where(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    condition, *branches = node.args
    if reader.of(condition) is not None:
        return NotImplemented
    deps = [dep.broadcast(reader.of(b), shape) for b in branches]
    known = reader.known(condition)
    if known is None:
        return dep.union(deps, shape)
    n = prod(shape)
    first = np.arange(n).reshape(shape)
    chosen = np.where(np.broadcast_to(array_of(known), shape), first, first + n)
    return dep.select([(d, n) for d in deps], chosen)


def _sum(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    found = reader.of(node.args[0])
    assert found is not None
    axes: Any = node.args[1] if len(node.args) > 1 and node.args[1] else range(len(found.shape))
    axes = [axes] if isinstance(axes, int) else axes
    return dep.reduce(found, axes)._replace(shape=shape)  # type: ignore[union-attr]  # not None


def _cumsum(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    axis: Any = node.args[1]
    found = reader.of(node.args[0])
    return dep.cumulate(found, axis) if shape else found


def _matrix_product(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    a, b = node.args[:2]
    if (reader.of(a) is None) == (reader.of(b) is None):
        return NotImplemented
    left = reader.of(a) is not None
    d, other = (reader.of(a), b) if left else (reader.of(b), a)
    known = reader.known(other)
    factor = other.meta["val"] if known is None else array_of(known)  # type: ignore[union-attr]
    batch = 1 if name == "bmm" else 0
    axis = len(d.shape if left else factor.shape) - 1  # type: ignore[union-attr]  # not None
    dims = (((axis,), (batch,)), ((0,) * batch, (0,) * batch))
    return dep.contract(d, factor, known is not None, dims, left)  # type: ignore[arg-type]


def _sum_with_product(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    base, a, b = node.args[:3]
    if reader.of(a) is None and reader.of(b) is None:
        return dep.broadcast(reader.of(base), shape)
    return NotImplemented


def _scattered(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    """Updates of an array at indices: where each goes is found by reading positions there."""
    n = prod(shape)
    places = torch.arange(n).reshape(shape)
    if name == "index_fill":
        base, axis, index, update = node.args
        index = reader.known(index)
        if index is None:
            return NotImplemented
        target = places.index_select(int(axis), index)  # type: ignore[arg-type]  # a number
        overwrite = True
    elif name == "index_put":
        base, indices, update, *rest = node.args
        chosen: Any = [None if i is None else reader.known(i) for i in indices]  # type: ignore[union-attr]
        if any(c is None for c, i in zip(chosen, indices, strict=True) if i is not None):  # type: ignore[arg-type]
            return NotImplemented
        target = places[tuple(slice(None) if i is None else i for i in chosen)]
        overwrite = not (rest and rest[0])
    else:
        base, axis, index, update = node.args[:4]
        axis = int(axis)  # type: ignore[arg-type]  # a number, by the schema
        index = reader.known(index)
        if index is None or not isinstance(update, fx.Node):
            return NotImplemented
        by_rows = name.startswith("index_")
        target = places.index_select(axis, index) if by_rows else places.gather(axis, index)
        overwrite = name in ("scatter", "index_copy")
        if not by_rows and tuple(update.meta["val"].shape) != tuple(index.shape):
            return NotImplemented
    if any(reader.of(x) is not None for x in node.args[1:2] if isinstance(x, fx.Node)):
        return NotImplemented
    spread = dep.broadcast(reader.of(update), tuple(target.shape))
    return dep.scatter(reader.of(base), spread, target.numpy(), shape, overwrite)


def _masked(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    """Elements of an array where a mask is False, and a number elsewhere."""
    array, mask, number = node.args
    kept = dep.broadcast(reader.of(array), shape)
    known = reader.known(mask)
    if known is not None:
        kept = dep.drop(kept, np.broadcast_to(array_of(known), shape))
    return dep.union([kept, reader.of(number)], shape)


def _gathered(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    """Elements at indices that are not known: anything along the axis."""
    found = reader.of(node.args[0])
    if found is None or reader.known(node.args[2]) is not None:
        return reader.moved(node)
    axis: int = node.args[1] % max(len(shape), 1)  # type: ignore[operator, assignment]  # a number
    if not shape or any(
        n != m for a, (n, m) in enumerate(zip(shape, found.shape, strict=True)) if a != axis
    ):
        return NotImplemented
    return dep.broadcast(dep.reduce(found, (axis,), keepdims=True), shape)


def _spectral(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    found = reader.of(node.args[0])
    # Its length along the last axis changes where one of the two sides is real.
    axes: Any = node.args[1]
    return dep.broadcast(dep.reduce(found, axes, keepdims=True), shape)


def _softmax_backward(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    axis: Any = node.args[2]
    return dep.union([dep.along(reader.of(a), (axis,)) for a in node.args[:2]], shape)


def _cross(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    axis: Any = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else -1)
    whole = [dep.broadcast(reader.of(a), shape) for a in node.args[:2]]
    return dep.union([dep.along(d, (axis,)) for d in whole], shape)


def _view_as_real(reader: Reader, name: str, node: fx.Node, shape: Any) -> Any:
    found = reader.of(node.args[0])
    if found is None:
        return None
    if name == "view_as_complex":
        return dep.reduce(found, (-1,))
    return dep.broadcast(found._replace(shape=(*found.shape, 1)), shape)


HANDLERS: dict[str, Callable[..., Any]] = {
    "where": _where, "sum": _sum, "mean": _sum, "cumsum": _cumsum,
    **dict.fromkeys(PRODUCTS, _matrix_product), "addmm": _sum_with_product,
    "masked_fill": _masked, "gather": _gathered, "linalg_cross": _cross,
    **dict.fromkeys(
        ("index_put", "scatter_add", "scatter", "index_add", "index_copy", "index_fill"),
        _scattered,
    ),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _spectral),
    **dict.fromkeys(("_softmax_backward_data", "_log_softmax_backward_data"), _softmax_backward),
    **dict.fromkeys(("view_as_real", "view_as_complex"), _view_as_real),
}  # fmt: skip
