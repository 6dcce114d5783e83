"""The closure that ``torch.optim`` calls, with gradients from any backend."""

from collections.abc import Callable
from typing import Any, Unpack

import optree

from diffface.backends.errors import InvalidArgumentError
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import PYTHON
from diffface.operators.gradient import prepare_value_and_gradient
from diffface.optimize.options import FunctionOptions, check
from diffface.prep.arguments.bind import bind
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.tree import NAMESPACE, leaves_of


def closure(
    f: Callable[..., Any], params: Any, /, *args: Any, **options: Unpack[FunctionOptions]
) -> Callable[..., Any]:
    """A closure for ``optimizer.step``: evaluates ``f`` and writes its gradient into ``.grad``.

    Parameters
    ----------
    f : callable
        ``f(params, *args)`` returns one real number.
    params : tensor, module, or tree of them
        What the optimizer changes in place: tensors, and parameters of modules that require a
        gradient.
    *args
        Data: constants, in ``Const`` or not, unless ``argnums`` says otherwise.
    **options : FunctionOptions
        ``backend``, ``argnums``, ``kwargs``, ``fallback``.

    Returns
    -------
    callable
        ``closure(*args)`` overwrites ``.grad`` of every tensor (there is nothing to zero first),
        and returns the value, a tensor of shape ``()``. Arguments take the place of the first of
        those it was made with, such as the next batch. Parameters of modules may be frozen, tied
        and replaced between calls.

    Raises
    ------
    InvalidArgumentError
        If a parameter is no tensor.

    Examples
    --------
    >>> import torch
    >>> import diffface as dif
    >>> w = torch.tensor([3.0, -1.0])
    >>> step = dif.closure(lambda w: (w**2).sum(), w, backend="torch")
    >>> step(), w.grad
    (tensor(10.), tensor([ 6., -2.]))
    """
    check(f, options, FunctionOptions, "closure")
    argnums = options.get("argnums")
    call = bind((params, *args), 0 if argnums is None else argnums, None)
    active = [call.values[i] for i in call.active]
    leaves = _parameters(active)
    for leaf in leaves:
        if not hasattr(leaf, "grad"):
            raise InvalidArgumentError(
                f"`params` must be tensors, got {type(leaf).__name__}; torch.optim changes tensors."
            )
    library = next(filter(None, map(library_of, leaves)), PYTHON)
    prepared = prepare_value_and_gradient(
        f, *map(_detached, call.values),
        backend=options.get("backend"), kwargs=options.get("kwargs"),
        argnums=call.active, on_mismatch="reprepare", fallback=options.get("fallback", "eager"),
    )  # fmt: skip
    written: dict[int, Any] = {}
    constants = tuple(v for i, v in enumerate(call.values) if i not in call.active)

    def evaluate(*given: Any) -> Any:
        rest = iter((*given, *constants[len(given) :]))
        now = [v if i in call.active else next(rest) for i, v in enumerate(call.values)]
        with library.without_variables():
            value, gradients = prepared(*map(_detached, now), *map(_detached, rest))
        # Modules may have other parameters than before, and other ones may be frozen.
        nonlocal written
        before, written = written, {}
        parts = (g for gradient in gradients for g in leaves_of(gradient))
        for leaf, part in zip(_parameters(active), parts, strict=True):
            # One that stands in several places has the sum.
            leaf.grad = leaf.grad + part if id(leaf) in written else part
            written[id(leaf)] = leaf
        for key in before.keys() - written.keys():
            before[key].grad = None
        return value

    return evaluate


def _is_module(value: object) -> bool:
    return hasattr(value, "named_parameters")


def _parameters(tree: Any) -> list[Any]:
    """What an optimizer changes, in the order of the derivative."""
    found: list[Any] = []
    for leaf in optree.tree_leaves(tree, is_leaf=_is_module, namespace=NAMESPACE):
        if _is_module(leaf):
            found += [p for p in leaf.parameters() if p.requires_grad]
        elif type(leaf) is not Const:
            found.append(leaf)
    return found


def _detached(argument: Any) -> Any:
    """Parameters require grad for the optimizer; nothing else is to be differentiated by torch."""

    def detached(leaf: Any) -> Any:
        library = library_of(leaf)
        return library.detach(leaf) if library and library.is_traced(leaf) else leaf

    return optree.tree_map(detached, argument, is_leaf=_is_module, namespace=NAMESPACE)
