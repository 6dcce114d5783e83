"""The way into and out of a compiled program, as straight-line code for one signature.

The general way (lay the arguments out, compare with the signature, carry in, run, carry out,
assemble) walks over structure that never changes. The code emitted here has it unrolled. Whatever
it does not know for sure it leaves to the general way, by returning ``MISS``.
"""

from collections.abc import Callable, Sequence
from typing import Any

import optree

from diffface.backends._compiled import Arrays, Compiled
from diffface.backends._kind import PYTHON, Kind, kind_of
from diffface.backends._names import Names
from diffface.prep._derivation import Derivation
from diffface.prep._flat import Trace
from diffface.prep._leaf import Static
from diffface.prep._operator import Seeds
from diffface.prep._tree import NAMESPACE, Spec

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

    def carry_in(self, a: str, example: Any, target: Kind, constant: bool) -> str:
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
        exec(compile(source, "<diffface entry>", "exec"), scope)
        entry: Entry = scope["entry"]  # type: ignore[assignment]
        return entry


def emit(
    derivation: Derivation, compiled: Compiled, trace: Trace,
    primals: Sequence[Any], constants: Sequence[Any], outputs: Arrays,
) -> Entry | None:  # fmt: skip
    """The entry to ``compiled`` for arguments like the examples; None where there is none."""
    try:
        return _emit(derivation, compiled, trace, primals, constants, outputs)
    except _Unknown:
        return None


def _emit(
    derivation: Derivation, compiled: Compiled, trace: Trace,
    primals: Sequence[Any], constants: Sequence[Any], outputs: Arrays,
) -> Entry:  # fmt: skip
    writer, layout = _Writer(), derivation.layout
    if layout.keywords or derivation.settings.has_aux or derivation.settings.batched:
        raise _Unknown
    count = len(layout.arguments)
    arguments = [f"a{i}" for i in range(count)]
    writer.lines.append(f"if len(args) != {count}: return {writer.miss}")
    writer.lines.append(f"{''.join(f'{a}, ' for a in arguments)} = args")
    active: dict[int, list[str]] = {}
    passed: list[str] = []
    rest = iter(constants)
    examples = iter(primals)
    example_of: dict[int, list[Any]] = {
        i: [next(examples) for _ in layout.arguments[i].leaves] for i in layout.active
    }
    for i, argument in enumerate(layout.arguments):
        leaves = writer.unpack(arguments[i], argument.spec, len(argument.leaves), f"t{i}")
        if i in layout.active:
            active[i] = [
                writer.carry_in(leaf, example, derivation.outer.kind, constant=False)
                for leaf, example in zip(leaves, example_of[i], strict=True)
            ]
            continue
        for leaf, known in zip(leaves, argument.leaves, strict=True):
            if isinstance(known, Static):
                writer.guards.append(f"{leaf} is {writer.names(known.value)}")
            else:
                passed.append(writer.carry_in(leaf, next(rest), derivation.inner.kind, True))
    inputs = [a for i in layout.active for a in active[i]] + passed
    inputs += _seeds(writer, derivation, example_of)
    call = f"{writer.names(compiled.run)}({', '.join(inputs)})"
    return writer.finish(
        "args, tangents, cotangents", _results(writer, derivation, trace, call, outputs)
    )


def _seeds(writer: _Writer, derivation: Derivation, example_of: dict[int, list[Any]]) -> list[str]:
    which, layout = derivation.operator.seeds, derivation.layout
    for seeds in (Seeds.TANGENTS, Seeds.COTANGENTS):
        if seeds is not which:
            writer.guards.append(f"{seeds.value} is None")
    if which is Seeds.NONE:
        return []
    if which is Seeds.COTANGENTS or not layout.bare:
        raise _Unknown
    (i,) = layout.active
    argument = layout.arguments[i]
    leaves = writer.unpack("tangents", argument.spec, len(argument.leaves), "v")
    return [
        writer.carry_in(leaf, example, derivation.outer.kind, constant=False)
        for leaf, example in zip(leaves, example_of[i], strict=True)
    ]


def _results(
    writer: _Writer, derivation: Derivation, trace: Trace, call: str, outputs: Arrays
) -> list[str]:
    names, kind = writer.names, derivation.outer.kind
    results = [f"r{i}" for i in range(len(outputs))]
    exits = []
    for result, output, (target, _) in zip(
        results, outputs, derivation.destinations(trace), strict=True
    ):
        expression = kind.exit(result, target, tuple(output.shape), names)
        # Only a copy to another kind waits until the caller's arrays are no longer read.
        waits = target is not kind or not (kind.asynchronous and writer.foreign)
        if not expression or not waits:
            raise _Unknown
        exits.append(expression)
    if len(outputs) == 1 and derivation.structure([0], trace) == 0:
        return [f"r0, = {call}", f"return {exits[0]}"]
    places = [_Place(i) for i in range(len(outputs))]
    found, spec = optree.tree_flatten(derivation.structure(places, trace), namespace=NAMESPACE)
    ordered = ", ".join(exits[place.index] for place in found)
    flat = spec == optree.tree_structure(tuple(found), namespace=NAMESPACE)
    tree = (
        f"({ordered},)" if flat else f"{names(optree.tree_unflatten)}({names(spec)}, ({ordered},))"
    )
    return [f"{', '.join(results)}, = {call}", f"return {tree}"]


class _Place:
    """Stands for an output while the structure of the result is learnt."""

    def __init__(self, index: int) -> None:
        self.index = index
