"""The fast path into and out of a compiled program: straight-line code for one signature.

The general way (lay the arguments out, compare with the signature, carry in, run, carry out,
assemble) walks over structure that never changes. The code emitted here has it unrolled, and is
what a prepared callable calls. Whatever it does not know for sure it leaves to the general way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Arrays, Compiled
from diffface.backends.errors import CannotRecord
from diffface.prep.arguments.axes import stacked
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.signature import Argument, Place, Signature
from diffface.prep.arguments.static import Static
from diffface.prep.arguments.tree import NAMESPACE, RESULTS, Spec, leaves_like, unflatten
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Seeds
from diffface.prep.plan import Plan
from diffface.prep.result import to_caller
from diffface.prep.writer import MISS, MISSING, Entry, Unknown, Writer

# In bytes: what is smaller is sooner copied than taken.
_LARGE = 2**18


def emit(
    plan: Plan,
    compiled: Compiled,
    structure: OutputStructure,
    primals: Sequence[Any],
    constants: Sequence[Any],
    seeds: Any,
    outputs: Arrays,
    defaults: Mapping[str, Any],
    general: Entry,
    deferred: Callable[..., Arrays],
) -> Entry | None:
    """The entry to ``compiled`` for arguments and seeds like the examples; None if there is none.

    ``outputs`` are those of the program at the examples; ``seeds`` may be None for cotangents,
    which are then taken to be of the kind of the result of ``f``. ``defaults`` are the keyword
    arguments of a call that has none, and ``general`` takes the calls that are not like this.
    ``deferred(outputs, primals, constants, seeds)`` are the outputs as they carry derivatives by
    variables of models.
    """
    writer = Writer(plan.operator.names[plan.wanted], general)
    settings = plan.inner.settings()
    writer.guards += [f"{writer.names(ask)}() is {writer.names(now)}" for ask, now in settings]
    names = _names(writer, plan, defaults)
    try:
        inputs = _arguments(writer, plan, names, primals, constants)
        carry = _carry(writer, plan, deferred, len(primals), len(outputs))
        inputs += _seeds(writer, plan, structure, primals, seeds)
        tail = _results(writer, plan, structure, compiled, inputs, outputs, carry)
    except Unknown:
        return None
    into = _into(writer, plan, structure, compiled, inputs, outputs)
    return writer.finish([*into, *tail])


def _names(writer: Writer, plan: Plan, defaults: Mapping[str, Any]) -> list[str]:
    """Names of the arguments, those by keyword last."""
    signature = plan.signature
    count = len(signature.arguments) - len(signature.keywords)
    names = [f"a{i}" for i in range(len(signature.arguments))]
    writer.parameters = names[:count]
    if not signature.keywords:
        writer.guards.append("not kwargs")
        return names
    writer.lines.append(f"named = {writer.names(defaults)} if kwargs is None else kwargs")
    exact = f"type(named) is {writer.names(dict)} and len(named) == {len(signature.keywords)}"
    writer.lines.append(writer.check([exact]))
    for a, keyword in zip(names[count:], signature.keywords, strict=True):
        writer.lines.append(f"{a} = named.get({keyword!r}, {writer.names(MISSING)})")
    return names


def _into(
    writer: Writer, plan: Plan, structure: OutputStructure, compiled: Compiled,
    inputs: Sequence[str], outputs: Arrays,
) -> list[str]:  # fmt: skip
    """Lines for a call with ``out``, where that is the one array of the result."""
    signature, kind, names = plan.signature, plan.outer.arrays, writer.names
    alone = len(outputs) == 1 and signature.bare and not plan.settings.has_aux
    plain = all(argument.spec is None for argument in signature.arguments)
    guard = ""
    if alone and plain:
        ((target, device),) = plan.result.destinations(structure)
        if target.writable:
            guard = target.guard("out", to_caller(outputs[0], kind, target, device), names)
    if not guard:
        writer.guards.append("out is None")
        return []
    others = ""
    calls = [*writer.run(compiled, "r,", inputs), "o[...] = r"]
    if compiled.into:
        others = "".join(f"{a}, " for a in inputs)
        calls = [f"{names(compiled.into)}((0,))({others}o)"]
    lender = kind if kind.writable else target
    lent = f"(o := {names(lender.view_for_output)}(out, ({others}))) is not None"
    return [
        "if out is not None:",
        f"    {writer.check([guard, lent])}",
        *_run(writer, calls, indent="    "),
        "    return out",
    ]


def _run(writer: Writer, statements: Sequence[str], indent: str = "") -> list[str]:
    """Lines that run the program; a primitive of the user's may no longer fit into it."""
    lines = [
        "try:",
        *(f"    {statement}" for statement in statements),
        f"except {writer.names(CannotRecord)}: {MISS}",
    ]
    return [indent + line for line in lines]


def _arguments(
    writer: Writer,
    plan: Plan,
    names: Sequence[str],
    primals: Sequence[Any],
    constants: Sequence[Any],
) -> list[str]:
    """Expressions for the primals, then the constants."""
    signature, inner, outer = plan.signature, plan.inner.arrays, plan.outer.arrays
    leaves = {
        i: writer.unpack(_plain(writer, names[i], i, signature), argument.spec, f"t{i}")
        for i, argument in enumerate(signature.arguments)
    }
    passed: list[str] = []
    found = iter(primals)
    for place in signature.places:
        own = leaves[place.position]
        positions = range(len(own)) if place.active is None else place.active
        passed += [writer.carry_in(own[n], next(found), outer) for n in positions]
    examples = iter(constants)
    for i, argument in enumerate(signature.arguments):
        active = i in signature.active
        passed += _constants(writer, leaves[i], argument, active, examples, inner)
    return passed


def _plain(writer: Writer, name: str, position: int, signature: Signature) -> str:
    """The argument without a ``Const``, which may be around one that is constant."""
    if position in signature.active or position >= len(writer.parameters):
        return name
    writer.lines.append(
        f"{name}_p = {name}.value if type({name}) is {writer.names(Const)} else {name}"
    )
    return f"{name}_p"


def _constants(
    writer: Writer, leaves: Sequence[str], argument: Argument, active: bool,
    examples: Iterator[Any], library: ArrayLibrary,
) -> list[str]:  # fmt: skip
    """Expressions for the run-time constants among ``leaves``; the static ones are guarded."""
    passed: list[str] = []
    for leaf, known in zip(leaves, argument.leaves, strict=True):
        if isinstance(known, Argument):
            held = writer.unpack_constant(leaf, known.spec)
            passed += _constants(writer, held, known, False, examples, library)
        elif isinstance(known, Static):
            writer.static(leaf, known)
        elif not active:
            passed.append(writer.carry_in(leaf, next(examples), library, constant=True))
    return passed


def _seeds(
    writer: Writer, plan: Plan, structure: OutputStructure, primals: Sequence[Any], given: Any
) -> list[str]:
    """Expressions for the tangents or cotangents."""
    which, signature = plan.operator.seeds, plan.signature
    for seeds in (Seeds.TANGENTS, Seeds.COTANGENTS):
        if seeds is not which:
            writer.guards.append(f"{seeds.value} is None")
    if which is Seeds.NONE:
        return []
    name = which.value
    if which is Seeds.COTANGENTS:
        given = _like_result(plan, structure) if given is None else given
        spec = structure.y
        examples = [given] if spec is None else leaves_like(spec, given, RESULTS)
        return _seed(writer, plan, name, spec, examples, RESULTS)
    given = plan.example_tangents(primals) if given is None else given
    if signature.bare:
        return _tangents(writer, plan, name, signature.places[0], given)
    count = len(signature.places)
    writer.lines.append(f"if type({name}) is not tuple or len({name}) != {count}: {MISS}")
    passed = []
    for n, (place, tree) in enumerate(zip(signature.places, given, strict=True)):
        passed += _tangents(writer, plan, f"{name}[{n}]", place, tree)
    return passed


def _tangents(writer: Writer, plan: Plan, entry: str, place: Place, tree: Any) -> list[str]:
    if place.spec is None:
        return _seed(writer, plan, entry, None, [tree], NAMESPACE)
    spec, active = place.derivative
    assert spec is not None, "that of a tree is a tree"
    examples = leaves_like(spec, tree, active=active)
    return _seed(writer, plan, entry, spec, examples, NAMESPACE, active)


def _seed(
    writer: Writer, plan: Plan, entry: str, spec: Spec | None, examples: Sequence[Any],
    namespace: str, active: Sequence[int] | None = None,
) -> list[str]:  # fmt: skip
    name = f"s{len(writer.lines)}"
    writer.lines.append(f"{name} = {entry}")
    leaves = writer.unpack(name, spec, f"{name}_v", namespace)
    if active is not None:
        leaves = [leaves[n] for n in active]
    return [
        writer.carry_in(leaf, example, plan.outer.arrays)
        for leaf, example in zip(leaves, examples, strict=True)
    ]


def _like_result(plan: Plan, structure: OutputStructure) -> Any:
    """Cotangents of the kind of the result of ``f``, to learn from."""
    library, device = plan.signature.result_library()
    points: tuple[int, ...] = ()
    if plan.axes is not None:
        library, points = stacked(library), (plan.axes.size,)
    leaves = [
        library.from_numpy(np.zeros((*points, *shape), dtype), device)
        for shape, dtype, _ in structure.y_leaves
    ]
    return leaves[0] if structure.y is None else unflatten(structure.y, leaves)


def _carry(
    writer: Writer, plan: Plan, deferred: Callable[..., Arrays], primals: int, outputs: int
) -> list[str]:
    """Lines after which outputs carry derivatives by variables of models."""
    if not plan.defers:
        return []
    given = [
        "".join(f"{a}, " for a in part)
        for part in (writer.leaves[:primals], writer.leaves[primals:])
    ]
    which = plan.operator.seeds
    seeds = "None" if which is Seeds.NONE else which.value
    results = "".join(f"r{i}, " for i in range(outputs))
    call = f"{writer.names(deferred)}(({results}), ({given[0]}), ({given[1]}), {seeds})"
    follows = plan.outer.arrays.follows(writer.names)
    return [f"if {follows}: {results} = {call}"]


def _results(
    writer: Writer, plan: Plan, structure: OutputStructure, compiled: Compiled,
    inputs: Sequence[str], outputs: Arrays, carry: Sequence[str],
) -> list[str]:  # fmt: skip
    """Lines that run the program, ``carry`` on derivatives, and return what the user gets."""
    names, kind = writer.names, plan.outer.arrays
    results = [f"r{i}" for i in range(len(outputs))]
    exits = []
    targets = [target for target, _ in plan.result.destinations(structure)]
    for result, output, target in zip(results, outputs, targets, strict=True):
        if kind.describe(output)[1].kind == "V" and target is not kind:
            raise Unknown
        shape = tuple(output.shape)
        expression = kind.convert_out(result, target, shape, names)
        if compiled.taken and target is not kind and output.nbytes >= _LARGE:
            expression = target.of_numpy(f"{names(compiled.taken)}({result})", shape, names)
        # Only a copy to another kind waits until the caller's arrays are no longer read.
        waits = target is not kind or not (kind.asynchronous and writer.foreign)
        if not expression or not waits:
            raise Unknown
        exits.append(expression)
    run = _run(writer, writer.run(compiled, f"{', '.join(results)},", inputs))
    run += carry
    if plan.settings.has_aux:
        tree, noted = names(plan.result.tree), names(structure)
        return [*run, f"return {tree}(({', '.join(exits)},), {noted})"]
    places = [_Place() for _ in outputs]
    tree = plan.result.tree(places, structure)
    return [*run, f"return {writer.pack(tree, dict(zip(map(id, places), exits, strict=True)))}"]


class _Place:
    """Stands for an output while the structure of the result is learnt."""
