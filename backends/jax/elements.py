"""Functions that compute one element after the other: equal operations as one on an array.

XLA compiles a kernel for every element that is written by itself. Here a function is traced, and
all operations of a kind that depend on nothing of each other are done together.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax._src.core import is_concrete  # there is no public way to ask
from jax.extend import core

from diffface.backends.compiled import Array

# Fewer operations are not worth an array.
_FEW = 8
_ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
    "cbrt", "ceil", "clamp", "complex", "conj", "convert_element_type", "cos", "cosh", "digamma",
    "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "imag",
    "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min",
    "mul", "ne", "neg", "nextafter", "not", "or", "pow", "real", "rem", "round", "rsqrt",
    "select_n", "sign", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "xor",
}  # fmt: skip


def merged(f: Callable[[], Array], plain: Array) -> Array:
    """``f()`` by as few operations as can be, where values are hidden; else ``plain``, the same."""
    if is_concrete(plain):
        return plain
    record = jax.make_jaxpr(f)()
    if record.effects:
        return plain
    program = _Program(record.jaxpr)
    ids = [program.value(c) for c in record.consts]
    (found,) = program.read(record.jaxpr, ids, ())
    return program.run(found)


@dataclass(frozen=True, slots=True)
class _Operation:
    """What computes the values ``outputs``.

    Operations of the same ``key`` and ``depth`` can be done together; ``key`` is None for others.
    An element that is read has the array that it is read from as its input, and its ``place``.
    """

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    depth: int
    key: Hashable
    place: int = 0


class _Program:
    """Operations, and the values that they take and give, by their numbers."""

    def __init__(self, record: Any) -> None:
        self._record = record
        self._operations: list[_Operation] = []
        self._depths: list[int] = []
        # A value, or an array and the place of the value in it.
        self._values: dict[int, Any] = {}
        self._places: dict[int, tuple[Array, int]] = {}
        self._known: dict[Hashable, tuple[int, ...]] = {}
        # Arrays of one element: where it is from. Scalars made arrays of shape (1,).
        self._parts: dict[int, tuple[int, int]] = {}
        self._scalars: dict[int, int] = {}

    def value(self, value: Any) -> int:
        """The number of a value that is known."""
        self._depths.append(0)
        self._values[len(self._depths) - 1] = value
        return len(self._depths) - 1

    # Reading what was traced

    def read(self, jaxpr: Any, consts: Sequence[int], inputs: Sequence[int]) -> list[int]:
        """Note the operations of ``jaxpr``; the numbers of its results."""
        ids: dict[Any, int] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *inputs), strict=True)
        )

        def number(atom: Any) -> int:
            if not isinstance(atom, core.Literal):
                return ids[atom]
            aval: Any = atom.aval
            key = "literal", aval.dtype, aval.shape, repr(atom.val)
            if key not in self._known:
                self._known[key] = (self.value(np.asarray(atom.val, aval.dtype)),)
            return self._known[key][0]

        for equation in jaxpr.eqns:
            found = self._noted(equation, tuple(map(number, equation.invars)))
            ids.update(zip(equation.outvars, found, strict=True))
        return [number(atom) for atom in jaxpr.outvars]

    def _noted(self, equation: Any, inputs: tuple[int, ...]) -> Sequence[int]:
        name, params = equation.primitive.name, equation.params
        shapes = [a.aval.shape for a in (*equation.invars, *equation.outvars)]
        if name in ("jit", "pjit") and not any(shapes) and not params["jaxpr"].effects:
            inner = params["jaxpr"]
            return self.read(inner.jaxpr, [self.value(c) for c in inner.consts], inputs)
        if name in ("squeeze", "reshape") and inputs[0] in self._parts and shapes[1] == ():
            array, place = self._parts[inputs[0]]
            return self._add(equation, (array,), ("read", array), place)
        elementwise = name in _ELEMENTWISE and not any(shapes)
        outputs = self._add(equation, inputs, _key(equation) if elementwise else None)
        if name == "slice" and params["strides"] is None and shapes[1].count(1) == len(shapes[1]):
            place = int(np.ravel_multi_index(params["start_indices"], shapes[0]))
            self._parts[outputs[0]] = inputs[0], place
        elif name in ("broadcast_in_dim", "reshape") and shapes == [(), (1,)]:
            self._scalars[outputs[0]] = inputs[0]
        return outputs

    def _add(
        self, equation: Any, inputs: tuple[int, ...], key: Hashable, place: int = 0
    ) -> tuple[int, ...]:
        same = key, inputs, place
        if key is not None and same in self._known:
            return self._known[same]
        depth = 1 + max((self._depths[i] for i in inputs), default=0)
        start = len(self._depths)
        self._depths += [depth] * len(equation.outvars)
        outputs = tuple(range(start, len(self._depths)))
        self._operations.append(_Operation(equation, inputs, outputs, depth, key, place))
        if key is not None:
            self._known[same] = outputs
        return outputs

    # Running

    def run(self, wanted: int) -> Array:
        """The value of that number."""
        layers: dict[int, dict[Hashable, list[_Operation]]] = defaultdict(lambda: defaultdict(list))
        for operation in self._needed(wanted):
            alone = operation.key is None
            layers[operation.depth][operation.outputs if alone else operation.key].append(operation)
        for depth in sorted(layers):
            for operations in layers[depth].values():
                first = operations[0]
                if isinstance(first.key, tuple) and first.key[0] == "read":
                    flat = jnp.reshape(self._value(first.inputs[0]), (-1,))
                    self._give(operations, _taken(flat, [o.place for o in operations]))
                elif first.key is not None and len(operations) >= _FEW:
                    columns = zip(*(o.inputs for o in operations), strict=True)
                    together = map(self._stacked, columns)
                    bind = first.equation.primitive.bind
                    self._give(operations, bind(*together, **first.equation.params))
                else:
                    for operation in operations:
                        self._alone(operation)
        return self._value(wanted)

    def _needed(self, wanted: int) -> list[_Operation]:
        needed, found = {wanted}, []
        for operation in reversed(self._operations):
            if needed.intersection(operation.outputs):
                found.append(operation)
                needed.update(self._elements(operation) or operation.inputs)
        return found[::-1]

    def _elements(self, operation: _Operation) -> list[int]:
        """The scalars that the operation makes an array of, if it does."""
        name, params = operation.equation.primitive.name, operation.equation.params
        scalars = [self._scalars.get(i) for i in operation.inputs]
        if name == "concatenate" and params["dimension"] == 0 and None not in scalars:
            return [i for i in scalars if i is not None]
        shapes = [a.aval.shape for a in operation.equation.invars]
        return list(operation.inputs) if name == "stack" and not any(shapes) else []

    def _alone(self, operation: _Operation) -> None:
        elements = self._elements(operation)
        if elements:
            self._values[operation.outputs[0]] = self._stacked(elements)
            return
        equation = operation.equation
        given = {
            v: i
            for v, i in zip(equation.invars, operation.inputs, strict=True)
            if not isinstance(v, core.Literal)
        }
        jaxpr = self._record.replace(
            constvars=[], invars=list(given), outvars=equation.outvars, eqns=[equation]
        )
        found = jax.core.eval_jaxpr(jaxpr, (), *map(self._value, given.values()))
        self._values.update(zip(operation.outputs, found, strict=True))

    def _give(self, operations: Sequence[_Operation], array: Array) -> None:
        for place, operation in enumerate(operations):
            self._places[operation.outputs[0]] = array, place

    def _value(self, number: int) -> Any:
        if number not in self._values:
            array, place = self._places[number]
            self._values[number] = jnp.reshape(_taken(array, [place]), ())
        return self._values[number]

    def _stacked(self, numbers: Sequence[int]) -> Array:
        """The values of ``numbers``, scalars, as an array."""
        if len(set(numbers)) == 1:
            return jnp.broadcast_to(self._value(numbers[0]), (len(numbers),))
        # From each array what is in it, and then in order.
        sources: dict[int, list[int]] = defaultdict(list)
        for at, number in enumerate(numbers):
            known = number in self._places
            sources[id(self._places[number][0]) if known else -1 - number].append(at)
        parts = []
        for ats in sources.values():
            if numbers[ats[0]] in self._places:
                array = self._places[numbers[ats[0]]][0]
                parts.append(_taken(array, [self._places[numbers[at]][1] for at in ats]))
            else:
                parts.append(jnp.broadcast_to(self._value(numbers[ats[0]]), (len(ats),)))
        order = np.argsort([at for ats in sources.values() for at in ats])
        return _taken(parts[0] if len(parts) == 1 else jnp.concatenate(parts), order)


def _key(equation: Any) -> Hashable:
    """Equal for operations of one kind; None where that cannot be known."""
    kinds = tuple((a.aval.dtype, a.aval.weak_type) for a in equation.invars)
    if not all(isinstance(dtype, np.dtype) for dtype, _ in kinds):  # keys of random numbers
        return None
    key = equation.primitive.name, kinds, tuple(sorted(equation.params.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _taken(array: Array, places: Any) -> Array:
    """The elements of ``array``, of one axis, at ``places``."""
    at = np.asarray(places)
    step = int(at[1] - at[0]) if at.size > 1 else 1
    if step > 0 and np.all(np.diff(at) == step):
        if at.size == array.shape[0]:
            return array
        return jax.lax.slice(array, [int(at[0])], [int(at[-1]) + 1], [step])
    once = len(np.unique(at)) == at.size
    return array.at[at].get(mode="promise_in_bounds", unique_indices=once)
