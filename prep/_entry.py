"""The way into and out of a compiled program, as straight-line code for one signature.

The general way (lay the arguments out, compare with the signature, carry in, run, carry out,
assemble) walks over structure that never changes. The code emitted here has it unrolled. Whatever
it does not know for sure it leaves to the general way, by returning ``MISS``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optree

from diffface.backends._compiled import Arrays, Compiled
from diffface.backends._kind import PYTHON, Kind, kind_of
from diffface.backends._names import Names
from diffface.backends._source import code
from diffface.prep._derivation import Derivation
from diffface.prep._flat import Trace
from diffface.prep._leaf import Static
from diffface.prep._operator import Seeds
from diffface.prep._tree import NAMESPACE, Spec, unflatten

MISS = object()

# (args, tangents, cotangents) -> result or MISS
Entry = Callable[[tuple[Any, ...], Any, Any], Any]


class _Unknown(Exception):
    """There is no straight line for this signature."""


class _Writer:
    """Source of an entry, as it grows."""

    def __init__(self) -> None:
        self.names = Names()
        self.lines: list[str] = []
        self.guards: list[str] = []
        self.miss = self.names(MISS)
        # Whether arrays of another kind go in.
        self.foreign = False

    def unpack(self, tree: str, spec: Spec | None, count: int, prefix: str) -> list[str]:
        """Names of the leaves of ``tree``, which must have the structure ``spec``."""
        if spec is None:
            return [tree]
        flat = f"{self.names(optree.tree_flatten)}({tree}, namespace={NAMESPACE!r})"
        leaves = [f"{prefix}_{i}" for i in range(count)]
        self.lines += [
            f"{prefix}, {prefix}_spec = {flat}",
            f"if {prefix}_spec != {self.names(spec)}: return {self.miss}",
            f"{''.join(f'{leaf}, ' for leaf in leaves)} = {prefix}" if leaves else "",
        ]
        return leaves

    def carry_in(self, a: str, example: Any, target: Kind, constant: bool = False) -> str:
        """The leaf ``a``, guarded to be like ``example``, as an array of ``target``."""
        source = kind_of(example)
        guard = source.guard(a, example, self.names) if source is not None else ""
        if source is None or not guard:
            raise _Unknown
        self.guards.append(guard)
        if constant and source is PYTHON:
            return a
        self.foreign |= source is not target
        expression, condition = target.entrance(a, source, self.names)
        if not expression:
            raise _Unknown
        if condition:
            self.guards.append(condition)
        return expression

    def finish(self, head: str, tail: Sequence[str]) -> Entry:
        """The function."""
        check = f"if not ({' and '.join(self.guards)}): return {self.miss}"
        body = [line for line in (*self.lines, check, *tail) if line]
        source = "\n    ".join([f"def entry({head}):", *body])
        scope = dict(self.names.namespace)
        exec(code(source, "<diffface entry>"), scope)  # noqa: S102 - our own source
        entry: Entry = scope["entry"]  # type: ignore[assignment]
        return entry


def emit(
    derivation: Derivation,
    compiled: Compiled,
    trace: Trace,
    primals: Sequence[Any],
    constants: Sequence[Any],
    seeds: Any,
    outputs: Arrays,
) -> Entry | None:
    """The entry to ``compiled`` for arguments and seeds like the examples; None if there is none.

    ``outputs`` are those of the program at the examples; ``seeds`` may be None for cotangents,
    which are then taken to be of the kind of the result of ``f``.
    """
    layout = derivation.layout
    if layout.keywords:
        return None
    writer = _Writer()
    count = len(layout.arguments)
    names = [f"a{i}" for i in range(count)]
    writer.lines.append(f"if len(args) != {count}: return {writer.miss}")
    writer.lines.append(f"{''.join(f'{a}, ' for a in names)} = args")
    try:
        inputs = _arguments(writer, derivation, names, primals, constants)
        inputs += _seeds(writer, derivation, trace, primals, seeds)
        call = f"{_callable(writer, compiled)}({', '.join(inputs)})"
        tail = _results(writer, derivation, trace, call, outputs)
    except _Unknown:
        return None
    return writer.finish("args, tangents, cotangents", tail)


def _callable(writer: _Writer, compiled: Compiled) -> str:
    run = writer.names(compiled.run)
    if compiled.shortcut is None:
        return run
    direct, holder, attribute = compiled.shortcut
    return f"({writer.names(direct)} if {writer.names(holder)}.{attribute} else {run})"


def _arguments(
    writer: _Writer,
    derivation: Derivation,
    names: Sequence[str],
    primals: Sequence[Any],
    constants: Sequence[Any],
) -> list[str]:
    """Expressions for the primals, then the constants."""
    layout, inner, outer = derivation.layout, derivation.inner.kind, derivation.outer.kind
    leaves = {
        i: writer.unpack(names[i], argument.spec, len(argument.leaves), f"t{i}")
        for i, argument in enumerate(layout.arguments)
    }
    active = [leaf for i in layout.active for leaf in leaves[i]]
    passed = [writer.carry_in(*each, outer) for each in zip(active, primals, strict=True)]
    examples = iter(constants)
    for i, argument in enumerate(layout.arguments):
        if i in layout.active:
            continue
        for leaf, known in zip(leaves[i], argument.leaves, strict=True):
            if isinstance(known, Static):
                writer.guards.append(f"{leaf} is {writer.names(known.value)}")
            else:
                passed.append(writer.carry_in(leaf, next(examples), inner, constant=True))
    return passed


def _seeds(
    writer: _Writer, derivation: Derivation, trace: Trace, primals: Sequence[Any], given: Any
) -> list[str]:
    """Expressions for the tangents or cotangents."""
    which, layout = derivation.operator.seeds, derivation.layout
    for seeds in (Seeds.TANGENTS, Seeds.COTANGENTS):
        if seeds is not which:
            writer.guards.append(f"{seeds.value} is None")
    if which is Seeds.NONE:
        return []
    name = which.value
    if which is Seeds.TANGENTS:
        given = layout.like_active(primals) if given is None else given
        entries, trees, specs = [name], [given], [layout.arguments[i].spec for i in layout.active]
        if not layout.bare:
            entries, trees = [f"{name}[{n}]" for n in range(len(specs))], list(given)
            writer.lines.append(
                f"if type({name}) is not tuple or len({name}) != {len(specs)}: return {writer.miss}"
            )
    else:
        given = _like_result(derivation, trace) if given is None else given
        entries, trees, specs = [name], [given], [trace.y]
    passed = []
    for n, (entry, tree, spec) in enumerate(zip(entries, trees, specs, strict=True)):
        examples = [tree] if spec is None else optree.tree_leaves(tree, namespace=NAMESPACE)
        writer.lines.append(f"s{n} = {entry}")
        leaves = writer.unpack(f"s{n}", spec, len(examples), f"v{n}")
        passed += [
            writer.carry_in(leaf, example, derivation.outer.kind)
            for leaf, example in zip(leaves, examples, strict=True)
        ]
    return passed


def _like_result(derivation: Derivation, trace: Trace) -> Any:
    """Cotangents of the kind of the result of ``f``, to learn from."""
    kind, device = derivation.layout.result_kind()
    leaves = [kind.from_numpy(np.zeros(shape, dtype), device) for shape, dtype, _ in trace.y_leaves]
    return leaves[0] if trace.y is None else unflatten(trace.y, leaves)


def _results(
    writer: _Writer, derivation: Derivation, trace: Trace, call: str, outputs: Arrays
) -> list[str]:
    """Lines that run the program and return what the user gets."""
    names, kind = writer.names, derivation.outer.kind
    results = [f"r{i}" for i in range(len(outputs))]
    exits = []
    targets = [target for target, _ in derivation.destinations(trace)]
    for result, output, target in zip(results, outputs, targets, strict=True):
        expression = kind.exit(result, target, tuple(output.shape), names)
        # Only a copy to another kind waits until the caller's arrays are no longer read.
        waits = target is not kind or not (kind.asynchronous and writer.foreign)
        if not expression or not waits:
            raise _Unknown
        exits.append(expression)
    run = f"{', '.join(results)}, = {call}"
    if derivation.settings.has_aux:
        structure, noted = names(derivation.structure), names(trace)
        return [run, f"return {structure}(({', '.join(exits)},), {noted})"]
    places = [_Place(i) for i in range(len(outputs))]
    tree = derivation.structure(places, trace)
    if isinstance(tree, _Place):
        return [run, f"return {exits[0]}"]
    found, spec = optree.tree_flatten(tree, namespace=NAMESPACE)
    plain: Any = tuple(found)
    ordered = ", ".join(exits[place.index] for place in found)
    if spec == optree.tree_structure(plain, namespace=NAMESPACE):
        return [run, f"return ({ordered},)"]
    return [run, f"return {names(optree.tree_unflatten)}({names(spec)}, ({ordered},))"]


class _Place:
    """Stands for an output while the structure of the result is learnt."""

    def __init__(self, index: int) -> None:
        self.index = index
