"""The recorder: notes every operation of torch that a program calls, while it runs.

Knows: torch's dispatch modes, and how a program betrays that it looked at values.
Must not know: what becomes of the graph.

``make_fx`` does the same on tensors without values, which takes several times as long. Preparing
a loop of 300 steps was measured at 30 to 40 unprepared calls.
"""

import weakref
from collections.abc import Callable
from functools import partial
from operator import getitem
from typing import Any, NamedTuple

import torch
from torch import fx
from torch._C import _functorch
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx._lazy_graph_module import _make_graph_module, _use_lazy_graph_module
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from diffface.backends.errors import CannotRecord
from diffface.backends.recording.user_frame import line_of_call
from diffface.backends.torch.graph.escapes import READS_NUMBER, READS_SHAPE, Escapes, tensors
from diffface.backends.torch.graph.functional import written
from diffface.backends.torch.graph.graph import aten, bases_of
from diffface.backends.torch.graph.look import Look, look

_BATCH_NORM = aten.native_batch_norm.default


class Recorder(TorchDispatchMode):
    """Notes in a graph what a program does while it runs.

    Parameters
    ----------
    escapes : Escapes
        Told about every look at values.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what torch would do about it takes seconds to import, and time at every call

    def __init__(self, escapes: Escapes, lined: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._escapes = escapes
        # Whether nodes keep the line of the user's that they came from
        self._lined = lined
        # As the last draw left it: anything else is a seed that the program sets
        self._random = torch.get_rng_state()
        self._root = torch.nn.Module()
        self._graph = fx.Graph()
        # By identity, for as long as each lives
        self._nodes: dict[int, fx.Node] = {}
        self._alive: dict[int, weakref.ref[torch.Tensor]] = {}
        # Nodes whose values depend on inputs or draws, and memory that was captured
        self._varying: set[fx.Node] = set()
        self._captured: set[int] = set()

    def record(self, program: Callable[..., Any], inputs: list[torch.Tensor]) -> fx.GraphModule:
        """The graph of ``program``, which returns tensors, at ``inputs``."""
        for i, x in enumerate(inputs):
            self._varying.add(node := self._graph.placeholder(f"x{i}"))
            self._keep(x, node)
        with self:
            outputs = program(*inputs)
        self._graph.output(tuple(map(self._node, outputs)))
        self._check_seed()
        with _use_lazy_graph_module(True):
            return _make_graph_module(self._root, self._graph)

    def varies(self, x: torch.Tensor) -> bool:
        """Whether the values of ``x`` may depend on inputs, or are drawn."""
        node = self._nodes.get(id(x))
        if node is not None:
            return node in self._varying
        return x.grad_fn is not None or _functorch.is_functorch_wrapped_tensor(x)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operation = _look_up(func)
        # In a backward pass `WatchedCalls` would watch what is done here.
        with torch._C.DisableTorchFunction():
            if operation.is_unusual:
                return self._unusual(operation, func, args, kwargs)
            result = func(*args, **kwargs)
            self._note(func, args, kwargs, result)
        return result

    def _unusual(self, operation: "_Operation", func: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(func, OpOverload):
            raise self._escapes.note(f"it uses the higher-order operation {func}")
        if operation.is_composite and not operation.reads:
            with self:
                return func.decompose(*args, **kwargs)
        if operation.reads:
            looked_at = _masks(args[1]) if func is aten.index.Tensor else (args, kwargs)
            if any(map(self.varies, tensors(looked_at))):
                raise self._escapes.note(operation.reads)
            if not any(map(self.varies, tensors((args, kwargs)))):
                return func(*args, **kwargs)
        if kwargs.get("generator") is not None:
            raise self._escapes.note("it draws random numbers from a generator of its own")
        if operation.draws:
            self._check_seed()
        into = tuple(written(func, args, kwargs)) if operation.writes else ()
        if func is _BATCH_NORM and args[5]:
            into = args[3:5]  # running averages, of which its schema says nothing
        if any(self._is_captured(x) for x in into if isinstance(x, torch.Tensor)):
            raise self._escapes.note("it writes to a tensor that it captured")
        if func is aten.lift_fresh.default:
            func = aten.lift_fresh_copy.default  # memory that is new at every run
        result = func(*args, **kwargs)
        if operation.draws:
            self._random = torch.get_rng_state()
        if func is _BATCH_NORM and args[5] and args[3] is not None:
            self._note_batch_norm(args, result)
        else:
            self._note(func, args, kwargs, result, operation.draws)
        return result

    def _check_seed(self) -> None:
        with no_dispatch():
            if not torch.equal(self._random, torch.get_rng_state()):
                raise self._escapes.note("it seeds torch's random number generator")

    def _is_captured(self, x: torch.Tensor) -> bool:
        if id(x) not in self._nodes:
            return True
        return x.layout is torch.strided and x.untyped_storage()._cdata in self._captured

    def _note_batch_norm(self, args: Any, result: Any) -> None:
        """As a function that returns the new running averages, which later reads find."""
        inputs = (*args[:5], *args[5:8])
        node = self._call(aten._native_batch_norm_legit_functional.default, inputs, {})
        self._varying.add(node)
        for i, x in enumerate((*result, *args[3:5])):
            item = self._graph.call_function(getitem, (node, i))
            self._varying.add(item)
            self._keep(x, item)
        node.meta["val"] = tuple(map(look, (*result, *args[3:5])))

    def _note(self, func: Any, args: Any, kwargs: Any, result: Any, draws: bool = False) -> None:
        if isinstance(result, torch.Tensor):
            self._keep(result, self._call(func, args, kwargs, draws))
        elif isinstance(result, (list, tuple)):
            if any(isinstance(x, torch.Tensor) for x in result):
                node = self._call(func, args, kwargs, draws)
                for i, x in enumerate(result):
                    if isinstance(x, torch.Tensor):
                        item = self._graph.call_function(getitem, (node, i))
                        if node in self._varying:
                            self._varying.add(item)
                        self._keep(x, item)
                node.meta["val"] = tuple(map(look, result))
        elif result is None and _look_up(func).writes:
            self._call(func, args, kwargs)

    def _call(self, func: Any, args: Any, kwargs: Any, draws: bool = False) -> fx.Node:
        # With arguments it would look for symbolic numbers among them, a third of what it takes.
        args, kwargs = self._argument(args), self._argument(kwargs)
        node = self._graph.create_node("call_function", func, name="n")
        node.args = args
        if self._lined:
            node.meta["line"] = line_of_call()
        if kwargs:
            node.kwargs = kwargs
        if draws or not self._varying.isdisjoint(node.all_input_nodes):
            self._varying.add(node)
            if _look_up(func).writes:
                # Through one of them, what it is a view of varies, too
                self._varying.update(x for at in node.all_input_nodes for x in bases_of(at))
        return node

    def _argument(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return self._nodes.get(id(x)) or self._node(x)
        kind = type(x)
        if kind is tuple:
            return tuple([self._argument(each) for each in x])
        if kind is list:
            return [self._argument(each) for each in x]
        if isinstance(x, (list, tuple)):
            return tuple(map(self._argument, x))
        return {k: self._argument(v) for k, v in x.items()} if isinstance(x, dict) else x

    def _keep(self, x: torch.Tensor, node: fx.Node) -> None:
        key = id(x)
        self._nodes[key] = node
        if not self._is_kept(x):
            self._alive[key] = weakref.ref(x, partial(self._forget, key))
        node.meta["val"] = Look(x)

    def _is_kept(self, x: torch.Tensor) -> bool:
        """Whether what stands under the address of ``x`` is of ``x``.

        An interrupt may have come in place of `_forget`, and another tensor to the same address.
        """
        alive = self._alive.get(id(x))
        return alive is not None and alive() is x

    def _forget(self, key: int, _: object) -> None:
        self._nodes.pop(key, None)
        self._alive.pop(key, None)

    def _node(self, x: torch.Tensor) -> fx.Node:
        """The node of ``x``; what the program captured becomes a constant of the graph."""
        node = self._nodes.get(id(x))
        if node is None or (id(x) in self._alive and not self._is_kept(x)):
            if isinstance(x, FakeTensor):
                raise CannotRecord("it uses a fake tensor of someone else's")
            name = f"_captured{len(self._root._buffers)}"
            self._root.register_buffer(name, x)
            self._alive.pop(id(x), None)
            node = self._nodes[id(x)] = self._graph.get_attr(name)
            node.meta["val"] = Look(x)
            if x.layout is torch.strided:
                self._captured.add(x.untyped_storage()._cdata)
        return node


class _Operation(NamedTuple):
    """What a recorder asks of an operation, whatever its arguments."""

    is_unusual: bool  # any of the following
    is_composite: bool  # made of others, which are recorded in its place
    draws: bool
    writes: bool
    reads: str  # what it looks at, if its result is no tensor, or one of a shape by values


_known: dict[int, tuple[Any, _Operation]] = {}


def _look_up(func: Any) -> _Operation:
    # Operations hash slowly; those that are kept here keep their identity
    found = _known.get(id(func))
    if found is None:
        found = _known[id(func)] = func, _find_out(func)
    return found[1]


def _find_out(func: Any) -> _Operation:
    if not isinstance(func, OpOverload):
        return _Operation(True, False, False, False, "")
    schema = func._schema
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    is_dispatched = torch._C._dispatch_has_kernel(func.name())  # others are of Python
    is_composite = is_dispatched and has_kernel(func.name(), "CompositeImplicitAutograd")
    draws = torch.Tag.nondeterministic_seeded in func.tags
    reads = ""
    if torch.Tag.data_dependent_output in func.tags:
        reads = READS_NUMBER
    elif torch.Tag.dynamic_output_shape in func.tags:
        reads = READS_SHAPE
    special = func in (_BATCH_NORM, aten.lift_fresh.default)
    takes_generator = any(a.name == "generator" for a in schema.arguments)
    unusual = is_composite or draws or schema.is_mutable or bool(reads) or special
    return _Operation(unusual or takes_generator, is_composite, draws, schema.is_mutable, reads)


def _masks(indices: Any) -> list[torch.Tensor]:
    """Those among ``indices`` by whose values the shape of the result goes."""
    masks = (torch.bool, torch.uint8)
    return [x for x in indices if x is not None and x.dtype in masks]
