"""The linear programs whose structure is that of a Jacobian or a Hessian."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from diffface.backends.compiled import Array, Arrays, Program
from diffface.backends.errors import SparsityError
from diffface.backends.recording.report import Found

if TYPE_CHECKING:
    from diffface.backends.adapter import Adapter

# (program, examples, inputs it is linear in) -> what its outputs depend on among these
Read = Callable[[Program, Arrays, range], Found]


def read_derivative(
    adapter: "Adapter", read: Read, program: Program, examples: Arrays, primals: int, order: int,
    differentiates: bool = False,
) -> Found:  # fmt: skip
    """The pattern of the derivative of ``program``, from the program that computes it.

    Parameters
    ----------
    adapter : Adapter
        Who differentiates.
    read : callable
        Reads what the outputs of a linear program depend on.
    program : callable
        ``(*primals, *constants) -> outputs``.
    examples : tuple of arrays
        Arrays like its inputs.
    primals : int
        How many of the inputs are active.
    order : int
        1 for the Jacobian; 2 for the Hessian of the one output.
    differentiates : bool
        Whether ``read`` finds what results depend on differentiably, of programs that are not
        linear, too. Then it is given ``program``, or its gradient.
    """
    # Python numbers are constants that may differ at every call.
    examples = tuple(
        adapter.lift(e, examples[0]) if isinstance(e, int | float | complex) else e
        for e in examples
    )
    x = examples[:primals]
    inputs = range(len(examples), len(examples) + primals)

    def derived(*given: Array) -> Arrays:
        x, constants = given[:primals], given[primals:]
        if order == 1:
            return program(*given)
        return adapter.gradient(lambda x: (program(*x, *constants), ()), x, value=False)[1]

    def push(*given: Array) -> Arrays:
        x, constants, dx = given[:primals], given[primals : len(examples)], given[len(examples) :]
        return adapter.pushforward(lambda x: (derived(*x, *constants), ()), x, dx, value=False)[1]

    by_pullback = order == 1 and adapter.reverse
    try:
        if differentiates:
            found = read(derived, examples, range(primals))
        else:
            found = read(push, (*examples, *x), inputs)
    except Exception as error:
        # Where there is no rule for pushforwards, pullbacks show the transposed structure.
        if not by_pullback:
            raise
        try:
            return _by_pullback(adapter, read, program, examples, primals)
        except SparsityError as second:
            # The first one knows the line in which the user's function asked for the operation.
            raise (error if isinstance(error, SparsityError) else second) from None
    if found.dense and by_pullback:
        # They may know more, as of a rule that was written for them alone. Both patterns hold.
        with suppress(Exception):
            other = _by_pullback(adapter, read, program, examples, primals)
            return other if other.matrix.nnz < found.matrix.nnz else found
    return found


def _by_pullback(
    adapter: "Adapter", read: Read, program: Program, examples: Arrays, primals: int
) -> Found:
    y = program(*examples)

    def pull(*given: Array) -> Arrays:
        x, constants, dy = given[:primals], given[primals : len(examples)], given[len(examples) :]
        return adapter.pullback(lambda x: (program(*x, *constants), ()), x)[1](dy)

    found = read(pull, (*examples, *y), range(len(examples), len(examples) + len(y)))
    matrix = found.matrix.T.tocsr()
    matrix.sort_indices()
    return found._replace(matrix=matrix)
