"""Tensors that are differentiated by a second evaluation, if at all."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from diffface.backends.compiled import Array, Arrays
from diffface.backends.errors import NotDifferentiableError
from diffface.backends.rule import among
from diffface.backends.torch.levels import captures
from diffface.backends.torch.variables import OWN, backward, leaf

_INSTEAD = (
    "Pass `dict(model.named_parameters())`, and call the model by `torch.func.functional_call`."
)
# Of each result, so many elements are compared.
_SAMPLE = 1024


def deferred(
    outputs: Arrays, variables: Arrays, held: Arrays, again: Callable[[Arrays], Arrays]
) -> Arrays:
    """``outputs``, of which `backward()` goes on to ``variables``; see `Adapter.deferred`."""
    which = [i for i, a in enumerate(outputs) if a.is_floating_point() or a.is_complex()]
    if not which:
        return outputs
    values = [outputs[i] for i in which]
    evaluation = _Evaluation(values, which, variables, held, again)
    carried: Arrays = _Deferred.apply(evaluation, values, *variables)  # type: ignore[no-untyped-call]
    return among(carried, which, outputs)


class _Deferred(torch.autograd.Function):
    """The node of these tensors in the graph."""

    @staticmethod
    def forward(
        ctx: Any, evaluation: "_Evaluation", values: Sequence[Array], *variables: Array
    ) -> Arrays:
        ctx.evaluation = evaluation
        ctx.set_materialize_grads(False)
        return tuple([a.detach() for a in values])

    @staticmethod
    def backward(ctx: Any, *seeds: Array | None) -> tuple[Array | None, ...]:
        return (None, None, *ctx.evaluation.pull(seeds))


class _Evaluation:
    """What an evaluation was, to do it again; of what it found it keeps samples alone.

    Whoever keeps the values of many steps of training shall not keep all their gradients.
    """

    __slots__ = ("_again", "_held", "_samples", "_versions", "_which", "variables")

    def __init__(
        self, values: Sequence[Array], which: Sequence[int], variables: Arrays, held: Arrays,
        again: Callable[[Arrays], Arrays],
    ) -> None:  # fmt: skip
        self.variables = variables
        self._which = which
        self._again = again
        self._held = [a for a in held if isinstance(a, torch.Tensor)]
        self._versions = _versions(self._held), _versions(variables)
        self._samples = [_sample(a).clone() for a in values]

    def pull(self, seeds: Sequence[Array | None]) -> tuple[Array | None, ...]:
        """Cotangents of the variables from those of the outputs."""
        held, variables = self._versions
        if variables != _versions(self.variables):
            raise NotDifferentiableError(
                "A derivative of a torch.nn.Module cannot be differentiated any more: parameters "
                "of the module were written to after it was computed."
            )
        # Such as averages that batches leave behind, and that no result depends on.
        written = held != _versions(self._held)
        follow = torch.is_grad_enabled()
        with torch.enable_grad():
            leaves = [leaf(v) if follow else v.detach().requires_grad_() for v in self.variables]
            found = self._again(tuple(leaves))
        outputs = [found[i] for i in self._which]
        if captures(outputs, [*leaves, *self.variables], OWN):
            raise NotDifferentiableError(
                "A derivative of a torch.nn.Module cannot be differentiated: `f` captures, or "
                "makes, tensors that require grad. Pass them as arguments."
            )
        pairs = zip(outputs, self._samples, strict=True)
        if not all(_agree(y.detach(), before, written) for y, before in pairs):
            raise NotDifferentiableError(
                "A derivative of a torch.nn.Module cannot be differentiated: evaluated again, `f` "
                "gives other results. It draws random numbers, or arguments or what it captures "
                f"have changed. {_INSTEAD}"
            )
        ends = [(y, dy) for y, dy in zip(outputs, seeds, strict=True) if dy is not None]
        ends = [(y, dy) for y, dy in ends if y.requires_grad]
        if not ends:
            return (None,) * len(leaves)
        ys, dys = zip(*ends, strict=True)
        return backward(ys, dys, leaves, keep=follow, again=follow)


def _versions(tensors: Sequence[Array]) -> list[int]:
    """How often each was written to; those of inference mode do not know."""
    return [-1 if a.is_inference() else a._version for a in tensors]


def _sample(a: Array) -> Array:
    """Some of the elements."""
    if a.layout is not torch.strided:
        return a.new_zeros(0)
    return a if a.numel() <= _SAMPLE else a.flatten()[:_SAMPLE]


def _agree(found: Array, before: Array, closely: bool) -> bool:
    """Whether an output is what it was ``before``, of which that is a sample, up to rounding."""
    if not before.numel():
        return True
    tolerance = torch.finfo(before.dtype).eps ** (0.75 if closely else 0.5)
    scale, now = found.abs().nan_to_num().max(), _sample(found)
    close = (now - before).abs() <= tolerance * scale
    # Not a number in both, or the same infinity.
    same = (now.isnan() & before.isnan()) | (now == before)
    return bool((close | same).all())
