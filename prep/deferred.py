"""Results that carry derivatives with respect to variables of models, computed when asked for.

A framework's own parameters, such as those in a module of PyTorch, always require a derivative. A
step of training has no use for the derivative of its gradient, and must not pay for it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from diffface.backends.adapter import Adapter
from diffface.backends.compiled import Arrays
from diffface.backends.rule import among
from diffface.prep.arguments.signature import Argument, Signature
from diffface.prep.flat_function import OutputStructure


def may_defer(signature: Signature, adapter: Adapter) -> bool:
    """Whether a call like this may have a model with variables of ``adapter``'s library."""
    own = adapter.arrays
    # NumPy arrays that go in give NumPy arrays, which carry nothing.
    if any(leaf.library is not own for leaf in signature.primals):
        return False
    return any(own.is_model(node) for argument in signature.arguments for node in _nodes(argument))


def _nodes(argument: Argument) -> Iterator[Any]:
    """Types of the nodes of an argument."""
    specs = [] if argument.spec is None else [argument.spec]
    while specs:
        spec = specs.pop()
        yield spec.type
        specs += spec.children()
    for leaf in argument.leaves:
        if type(leaf) is Argument:
            yield from _nodes(leaf)


def attached(
    adapter: Adapter, primals: Sequence[Any], constants: Sequence[Any], copy: bool = False
) -> tuple[Sequence[Any], Sequence[Any], bool]:
    """Primals and constants with variables instead of their values; whether there are any.

    With ``copy`` these stay what they are when the caller writes to the variables.
    """
    values = [*primals, *constants]
    found = adapter.arrays.variables(values)
    if not found:
        return primals, constants, False
    filled = among([1 * v if copy else v for v in found.values()], [*found], values)
    return filled[: len(primals)], filled[len(primals) :], True


def deferred(
    adapter: Adapter, outputs: Arrays, structure: OutputStructure, primals: Sequence[Any],
    constants: Sequence[Any],
    evaluate: Callable[[Sequence[Any], Sequence[Any]], Arrays],
) -> Arrays:  # fmt: skip
    """``outputs``, as they carry derivatives with respect to variables of models.

    ``evaluate(primals, constants)`` are the same outputs, differentiably.
    """
    values = [*primals, *constants]
    found = adapter.arrays.variables(values)
    if not found:
        return outputs
    count = len(primals)
    which = _carrying(structure, max(found) >= count)

    def again(variables: Sequence[Any]) -> Arrays:
        filled = among(variables, [*found], values)
        derived = evaluate(filled[:count], filled[count:])
        return tuple([derived[i] for i in which])

    carried = adapter.deferred(
        tuple([outputs[i] for i in which]), tuple(found.values()), tuple(values), again
    )
    return among(carried, which, outputs)


def _carrying(structure: OutputStructure, constant: bool) -> list[int]:
    """Which outputs may depend on variables, some of which are in constants or none."""
    parts = sum(structure.counts)
    aux = [constant or depends for depends in structure.aux_depends]
    return [*range(parts), *(parts + i for i, depends in enumerate(aux) if depends)]
