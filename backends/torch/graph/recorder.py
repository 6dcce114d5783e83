"""The recorder: notes every operation of torch that a program calls, on fake tensors.

Knows: torch's dispatch modes and fake tensors, and how a program betrays that it looked at values.
Must not know: what becomes of the graph.

``make_fx`` does the same in a tenth of the speed, which long loops cannot bear.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import getitem
from typing import Any, NamedTuple

import torch
from torch import fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    FakeTensor,
    FakeTensorMode,
    in_kernel_invocation_manager,
)
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_call
from diffface.backends.torch.graph.functional import written
from diffface.backends.torch.graph.graph import aten, aten_names

_READS_NUMBER = "a value was read as a Python number (a branch, float(), item(), an index)"
_READS_SHAPE = "the shape of a result depends on values (a boolean mask, nonzero, unique)"
_READS_MEMORY = "the memory of a tensor was read (numpy(), dlpack, data_ptr)"
_READS_TEXT = "the values of a tensor were printed or made text"

# These answer for a tensor without values, or fail in a way that a program may swallow
_READERS = {
    torch.Tensor.__array__: _READS_MEMORY,
    torch.Tensor.__dlpack__: _READS_MEMORY,
    torch.Tensor.__format__: _READS_TEXT,
    torch.Tensor.__repr__: _READS_TEXT,
    torch.Tensor.data_ptr: _READS_MEMORY,
    torch.Tensor.numpy: _READS_MEMORY,
}
# Asked for at every turn
_DEVICE = torch.ops.prim.device.default
_BATCH_NORM = aten.native_batch_norm.default
# What the results of these look like is left to torch's C++, without what fake tensors put around
_QUICK = aten_names(
    """
    abs add cos detach div dot exp expand log log1p mm mul mv neg permute pow reciprocal rsqrt rsub
    select select_backward sigmoid sin slice slice_backward sqrt square squeeze sub sum t tan tanh
    transpose unsqueeze view
    """
)


class Escapes:
    """What a trace has seen escape; the first one is kept.

    An escape counts even where the program swallows the error: what it did next is a guess.
    """

    def __init__(self) -> None:
        self.first: CannotRecord | None = None

    def note(self, reason: str) -> CannotRecord:
        """Remember an escape that happens now, on this stack."""
        found = CannotRecord(reason, line_of_call())
        self.first = self.first or found
        return found


class WatchedCalls(TorchFunctionMode):
    """Refuses the Python calls that read a tensor behind the dispatcher's back."""

    def __init__(self, escapes: Escapes) -> None:
        super().__init__()
        self._escapes = escapes

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _READERS:
            raise self._escapes.note(_READERS[func])
        return func(*args, **(kwargs or {}))


class Recorder(TorchDispatchMode):
    """Notes operations in a graph; runs within a fake mode.

    Parameters
    ----------
    fake_mode : FakeTensorMode
        Of the tensors that the program runs on.
    escapes : Escapes
        Told about every look at values.
    random : Tensor
        The state of torch's random number generator. Nothing is drawn while tracing, so that only
        a seed which the program sets can change it.
    """

    supports_higher_order_operators = True

    def __init__(self, fake_mode: FakeTensorMode, escapes: Escapes, random: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._fake_mode = fake_mode
        self._escapes = escapes
        self._random = random
        self._root = torch.nn.Module()
        self._graph = fx.Graph()
        # By identity; the tensors are kept, so that no other gets the same
        self._nodes: dict[int, tuple[torch.Tensor, fx.Node]] = {}

    def record(self, program: Callable[..., Any], inputs: list[torch.Tensor]) -> fx.GraphModule:
        """The graph of ``program``, which returns tensors, at fake ``inputs``."""
        for i, x in enumerate(inputs):
            self._keep(x, self._graph.placeholder(f"x{i}"))
        with self:
            outputs = program(*inputs)
        self._graph.output(tuple(map(self._node, outputs)))
        module = fx.GraphModule(self._root, self._graph)
        self._nodes.clear()
        return module

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _DEVICE and type(args[0]) is FakeTensor:
            return args[0].fake_device
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            raise self._escapes.note(f"it uses the higher-order operation {func}")
        operation = _look_up(func)
        if operation.is_composite:
            with self:
                return func.decompose(*args, **kwargs)
        into = written(func, args, kwargs) if operation.writes else ()
        if func is _BATCH_NORM and args[5]:
            into = args[3:5]  # running averages, of which its schema says nothing
        if any(map(_is_real, into)):
            raise self._escapes.note("it writes to a tensor that it captured")
        if kwargs.get("generator") is not None:
            raise self._escapes.note("it draws random numbers from a generator of its own")
        if operation.draws and self._is_seeded():
            raise self._escapes.note("it seeds torch's random number generator")
        result = self._run_quickly(func, args, kwargs) if operation.is_quick else None
        if result is None:
            result = self._run(func, args, kwargs)
        if func is aten.lift_fresh.default:
            func = aten.lift_fresh_copy.default
        self._note(func, args, kwargs, result)
        return result

    def _is_seeded(self) -> bool:
        with no_dispatch():
            return not torch.equal(self._random, torch.get_rng_state())

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except Exception as error:
            reason = reads_values(error)
            if reason is not None:
                self._escapes.note(reason)
            raise

    def _run_quickly(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A result that looks like that of ``func``; None if the fake mode has to find out."""
        device = None
        for x in args:
            if isinstance(x, torch.Tensor):
                if type(x) is not FakeTensor or x.constant is not None:
                    return None
                if device is not None and x.fake_device != device:
                    return None
                device = x.fake_device
        if device is None or "dtype" in kwargs:
            return None
        with in_kernel_invocation_manager(self._fake_mode):
            result = func(*args, **kwargs)
        return FakeTensor(self._fake_mode, result, device)

    def _note(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        if isinstance(result, torch.Tensor):
            self._keep(result, self._call(func, args, kwargs))
        elif isinstance(result, (list, tuple)):
            if any(isinstance(x, torch.Tensor) for x in result):
                node = self._call(func, args, kwargs)
                for i, x in enumerate(result):
                    if isinstance(x, torch.Tensor):
                        self._keep(x, self._graph.call_function(getitem, (node, i)))
                node.meta["val"] = tuple(map(self._look, result))
        elif result is None and _look_up(func).writes:
            self._call(func, args, kwargs)

    def _call(self, func: Any, args: Any, kwargs: Any) -> fx.Node:
        return self._graph.call_function(func, self._argument(args), self._argument(kwargs))

    def _argument(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return self._node(x)
        if isinstance(x, (list, tuple)):
            return (
                list(map(self._argument, x)) if type(x) is list else tuple(map(self._argument, x))
            )
        return {k: self._argument(v) for k, v in x.items()} if isinstance(x, dict) else x

    def _keep(self, x: torch.Tensor, node: fx.Node) -> None:
        self._nodes[id(x)] = x, node
        node.meta["val"] = self._look(x)

    def _look(self, x: Any) -> Any:
        """A fake tensor that looks like ``x``, and does not keep the derivatives of it."""
        if not isinstance(x, FakeTensor):
            return x
        with in_kernel_invocation_manager(self._fake_mode):
            plain = x.detach()
        return FakeTensor(self._fake_mode, plain, x.fake_device)

    def _node(self, x: torch.Tensor) -> fx.Node:
        """The node of ``x``; what the program captured becomes a constant of the graph."""
        if id(x) not in self._nodes:
            if not _is_real(x):
                raise CannotRecord("it uses a fake tensor of someone else's")
            name = f"_captured{len(self._root._buffers)}"
            self._root.register_buffer(name, x)
            node = self._graph.get_attr(name)
            self._nodes[id(x)] = x, node
            node.meta["val"] = self._fake_mode.from_tensor(x)
        return self._nodes[id(x)][1]


class _Operation(NamedTuple):
    """What a recorder asks of an operation, whatever its arguments."""

    is_composite: bool  # made of others, which are recorded in its place
    is_quick: bool
    draws: bool
    writes: bool


@lru_cache(maxsize=4096)
def _look_up(func: OpOverload) -> _Operation:
    schema = func._schema
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    is_dispatched = torch._C._dispatch_has_kernel(func.name())  # others are of Python
    return _Operation(
        is_dispatched and has_kernel(func.name(), "CompositeImplicitAutograd"),
        schema.name in _QUICK and not schema.is_mutable and len(schema.returns) == 1,
        torch.Tag.nondeterministic_seeded in func.tags,
        schema.is_mutable,
    )


def reads_values(error: BaseException) -> str | None:
    """Say in words how ``error`` betrays a look at values; None if it does not."""
    for link in _chain(error):
        # By name: one of these classes lives in a module that takes long to import
        name = type(link).__name__
        if name == "DynamicOutputShapeException":
            return _READS_SHAPE
        if name in ("DataDependentOutputException", "GuardOnDataDependentSymNode"):
            return _READS_NUMBER
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_real(x: Any) -> bool:
    return isinstance(x, torch.Tensor) and not isinstance(x, FakeTensor)
