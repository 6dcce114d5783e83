"""The source of an entry to a compiled program, and the entries that need none."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakMethod

import optree

from diffface.backends.arrays import ArrayLibrary
from diffface.backends.compiled import Compiled, Direct, Shortcut
from diffface.backends.libraries import library_of
from diffface.backends.numpy_arrays import PYTHON
from diffface.backends.recording.names import Names, code
from diffface.backends.recording.reachable import frozen, is_atom
from diffface.prep.arguments.const import Const
from diffface.prep.arguments.static import Static, state_of
from diffface.prep.arguments.tree import NAMESPACE, RESULTS, Spec, flatten

# What a prepared callable is called with: `(*args, tangents=, cotangents=, out=, kwargs=)`.
Entry = Callable[..., Any]


# Stands for an argument that did not come; no guard lets it pass.
MISSING = object()

# The statement that leaves a call to the general way: the lines stand in a loop, which ends.
MISS = "break"


class Unknown(Exception):
    """There is no fast path for this signature."""


class Writer:
    """Source of an entry, as it grows.

    Parameters
    ----------
    name : str
        What errors call the entry.
    general : Entry
        Takes the calls that the fast path is not made for.
    """

    def __init__(self, name: str, general: Entry) -> None:
        self.name = name
        self.general = general
        self.names = Names()
        # Names of the positional arguments.
        self.parameters: Sequence[str] = ()
        self.lines: list[str] = []
        self.guards: list[str] = []
        # Guards of the scopes that a call is in, and those of single leaves.
        self.scopes: list[str] = []
        self.alike: list[str] = []
        # What knows leaves like earlier ones, and the inputs that it is asked about.
        self.direct: Direct | None = None
        self.inputs: Sequence[str] = ()
        # Leaves that are not static, as they came.
        self.leaves: list[str] = []
        # Names of what `ArrayLibrary.quick_leaves` has found.
        self.quick: set[str] = set()
        # Whether arrays of another kind go in.
        self.foreign = False

    def unpack(
        self, tree: str, spec: Spec | None, prefix: str, namespace: str = NAMESPACE
    ) -> list[str]:
        """Names of the leaves of ``tree``, which must have the structure ``spec``."""
        if spec is None or spec.is_leaf():
            return [tree]
        if spec.kind is optree.PyTreeKind.NONE:
            self.guards.append(f"{tree} is None")
            return []
        children = self._children(tree, spec)
        if children is None:
            found = namespace == NAMESPACE and self._quick_leaves(tree, spec, prefix)
            return found or self._flatten(tree, spec, prefix, namespace)
        names = [f"{prefix}_{i}" for i in range(spec.num_children)]
        self.lines.append(f"{_row(names)} = {children}" if names else "")
        parts = zip(names, spec.children(), strict=True)
        return [leaf for a, child in parts for leaf in self.unpack(a, child, a, namespace)]

    def unpack_constant(self, leaf: str, spec: Spec | None) -> list[str]:
        """Names of the leaves of what stands in a ``Const`` at ``leaf``."""
        if leaf in self.quick:
            return [leaf]
        self.lines.append(f"if type({leaf}) is not {self.names(Const)}: {MISS}")
        self.lines.append(f"{leaf}_c = {leaf}.value")
        return self.unpack(f"{leaf}_c", spec, f"{leaf}_c")

    def _children(self, tree: str, spec: Spec) -> str | None:
        """An expression for the children of a built-in container, guarded; None of any other."""
        cls: Any = spec.type
        if cls is dict:
            keys = spec.entries()
            if any(type(key) is not str for key in keys):
                return None
            alike, children = f"(*{tree},) == {tuple(keys)!r}", f"{tree}.values()"
        elif cls in (list, tuple):
            alike, children = f"len({tree}) == {spec.num_children}", tree
        else:
            return None
        self.lines.append(self.check([f"type({tree}) is {self.names(cls)}", alike]))
        return children

    def _quick_leaves(self, tree: str, spec: Spec, prefix: str) -> list[str]:
        """Names of the leaves of a node of a library's, if that has a cheaper way to them."""
        ways = (each.quick_leaves(spec.type) for each in ArrayLibrary.in_use.values())
        way = next(filter(None, ways), None)
        if way is None or spec.num_children != spec.num_leaves:
            return []
        leaves = [f"{prefix}_{i}" for i in range(spec.num_leaves)]
        self.quick.update(leaves)
        self.lines += [
            f"{prefix} = {self.names(way)}({tree})",
            f"if {prefix} is None or len({prefix}) != {len(leaves)}: {MISS}",
            f"{_row(leaves)} = {prefix}",
        ]
        return leaves

    def _flatten(self, tree: str, spec: Spec, prefix: str, namespace: str) -> list[str]:
        flat = f"{self.names(optree.tree_flatten)}({tree}, namespace={namespace!r})"
        leaves = [f"{prefix}_{i}" for i in range(spec.num_leaves)]
        self.lines += [
            f"{prefix}, {prefix}_spec = {flat}",
            f"if {prefix}_spec != {self.names(spec)}: {MISS}",
            f"{_row(leaves)} = {prefix}" if leaves else "",
        ]
        return leaves

    def pack(self, tree: Any, leaves: Mapping[int, str]) -> str:
        """An expression for a tree like ``tree``, whose leaves, by their ids, are ``leaves``."""
        if tree is None or id(tree) in leaves:
            return leaves.get(id(tree), "None")
        if type(tree) in (list, tuple):
            children = _row([self.pack(child, leaves) for child in tree])
            return f"[{children}]" if type(tree) is list else f"({children})"
        if type(tree) is dict and all(type(key) is str for key in tree):
            items = [f"{key!r}: {self.pack(child, leaves)}" for key, child in tree.items()]
            return f"{{{', '.join(items)}}}"
        found, spec = flatten(tree, RESULTS)
        ordered = _row([leaves[id(leaf)] for leaf in found])
        return f"{self.names(optree.tree_unflatten)}({self.names(spec)}, ({ordered}))"

    def carry_in(self, a: str, example: Any, target: ArrayLibrary, constant: bool = False) -> str:
        """The leaf ``a``, guarded to be like ``example``, as an array of ``target``."""
        source = library_of(example)
        if source is None:
            raise Unknown
        guard = (source.alike if a in self.quick else source.guard)(a, example, self.names)
        if not guard:
            raise Unknown
        self.leaves.append(a)
        self.alike.append(guard)
        clear = source.untransformed(self.names)
        if clear and clear not in self.scopes:
            self.scopes.append(clear)
        if constant and source is PYTHON:
            return a
        self.foreign |= source is not target
        expression, condition = target.convert_in(a, source, example, self.names)
        if not expression:
            raise Unknown
        if condition:
            self.alike.append(condition)
        return expression

    def run(self, compiled: Compiled, target: str, inputs: Sequence[str]) -> list[str]:
        """Statements that assign what the program returns; inputs known to it need no guards."""
        given = ", ".join(inputs)
        if compiled.shortcut is not None:
            return self._shortcut(compiled.shortcut, f"{target} = {{}}({given})")
        run = f"{target} = {self.names(compiled.run)}({given})"
        if compiled.direct is None or self.foreign:
            return [run]
        self.direct, self.inputs = compiled.direct, inputs
        direct = self.names(compiled.direct)
        return [
            f"if known: {target} = {self.names(compiled.direct.run)}({given})",
            "else:",
            f"    {direct}.meet({given})",
            f"    {run}",
        ]

    def _shortcut(self, short: Shortcut, call: str) -> list[str]:
        call = call.format(self.names(short.direct))
        unless = "" if short.wanted else "not "
        return [
            f"if {unless}{self.names(short.holder)}.{short.attribute}: {call}",
            "else:",
            f"    with {self.names(short.scope)}({short.wanted}): {call}",
        ]

    def static(self, a: str, known: Static) -> None:
        """Guard that the leaf ``a`` is what ``known`` was."""
        if is_atom(known.value):
            self.guards.append(f"{a} is {self.names(known.value)}")
        else:
            same = f"{self.names(state_of)}({a}) == {self.names(known.state)}"
            if type(known.value) in frozen:
                same = f"({a} is {self.names(known.value)} or {same})"
            self.guards.append(same)

    def check(self, guards: Sequence[str]) -> str:
        """The line that leaves a call to the general way unless all ``guards`` hold."""
        return f"if not ({' and '.join(guards)}): {MISS}"

    def finish(self, tail: Sequence[str]) -> Entry:
        """The function."""
        known, alike = "", self.alike
        if self.direct is not None:
            known = f"known = {self.names(self.direct)}.knows({', '.join(self.inputs)})"
            alike = [f"(known or {' and '.join(alike)})"]
        check = self.check(["not rest", *self.scopes, *alike, *self.guards])
        body = [f"  {line}" for line in (*self.lines, known, check, *tail) if line]
        # Naming the arguments is quicker than taking them out of a tuple.
        given = "".join(f"{a}, " for a in self.parameters)
        defaults = "".join(f"{a}={self.names(MISSING)}, " for a in self.parameters)
        options = "*rest, tangents=None, cotangents=None, out=None, kwargs=None"
        head = f"def {self.name}({defaults}{'/, ' if given else ''}{options}):"
        came = f"*{self.names(_came)}({given}*rest)" if given else "*rest"
        seeds = "tangents=tangents, cotangents=cotangents"
        general = f"return {self.names(self.general)}({came}, {seeds}, out=out, kwargs=kwargs)"
        source = "\n ".join([head, "while True:", *body, general])
        scope = dict(self.names.namespace)
        exec(code(source, "<diffface entry>"), scope)  # noqa: S102 - our own
        entry: Entry = scope[self.name]  # type: ignore[assignment]
        return entry


def _came(*args: Any) -> list[Any]:
    """The arguments that did come."""
    return [a for a in args if a is not MISSING]


def _row(names: Sequence[str]) -> str:
    return "".join(f"{name}, " for name in names)


# What a call takes by keyword; the function's own keywords come in `kwargs`.
_OPTIONS = ("tangents", "cotangents", "out", "kwargs")


def weakly(method: Callable[..., Any], name: str) -> Entry:
    """``method``, without keeping its object alive, which may hold this; errors call it ``name``.

    Raises
    ------
    ReferenceError
        When it is called and the object is gone.
    """
    weak = WeakMethod(method)

    def call(*args: Any, **options: Any) -> Any:
        general = weak()
        if general is None:
            raise ReferenceError("The prepared callable that this belongs to is gone; keep it.")
        for key in options:
            if key not in _OPTIONS:
                raise TypeError(f"{name}() got an unexpected keyword argument {key!r}")
        return general(*args, **options)

    return call


class ShownSignature:
    """What ``inspect.signature`` shows: the parameters of ``f``; of the class, those of a call."""

    def __init__(self, method: Callable[..., Any]) -> None:
        _, *parameters = inspect.signature(method).parameters.values()
        self._of_calls = inspect.Signature(parameters)

    def __get__(self, prepared: Any, cls: type) -> inspect.Signature:
        if prepared is None:
            return self._of_calls
        try:
            return inspect.signature(prepared.function)
        except (TypeError, ValueError):  # some functions in C have none
            return self._of_calls
