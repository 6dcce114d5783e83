"""From a graph to Python source.

The source is a straight line of NumPy calls on local variables: dead code is gone, and the result
of a ufunc may be written over another one's that is not needed any more. The program writes into no
other memory than what its ufuncs returned, what it allocated or borrowed itself, and the arrays
given for its outputs. It shares no state between calls, so it may run in many threads at once.
"""

from math import isfinite

import numpy as np

from diffface.backends.autograd.recorder.functions import (
    allocates,
    is_trusted,
    joined,
    scatter,
)
from diffface.backends.autograd.recorder.graph import Node
from diffface.backends.autograd.recorder.places import (
    fills,
    fits_anywhere,
    form,
    lines_into,
    parts_of,
    reshaped,
    turned,
    view_of,
    written_into,
)
from diffface.backends.autograd.recorder.program_names import ProgramNames
from diffface.backends.autograd.recorder.scatter import Touched, update_lines
from diffface.backends.autograd.recorder.source import FILLING, argument, empty, expression
from diffface.backends.compiled import Program
from diffface.backends.recording.lifetimes import Lifetimes
from diffface.backends.recording.workspace import Workspace


class Writer:
    """Writes the source of one program.

    Parameters
    ----------
    inputs, outputs : list of Node
    places : tuple of int
        Outputs that are written into further inputs.
    watch : Node, optional
        A number: unless it is finite, the program returns what `general` does.
    general : callable, optional
    """

    def __init__(
        self, inputs: list[Node], outputs: list[Node], places: tuple[int, ...] = (),
        watch: Node | None = None, general: Program | None = None,
    ) -> None:  # fmt: skip
        self.names = ProgramNames(inputs)
        self._inputs = inputs
        self._outputs = outputs
        self._watch, self._general = watch, general
        needed = [*outputs, watch] if watch else outputs
        self._order = live(needed)
        self._lives = Lifetimes(self._order, _operands, _owns, needed, _keeps)
        self._lines: list[str] = []
        # What is known of the arrays that began as zeros and are being added to.
        self._touched: dict[Node, Touched] = {}
        # Outputs that go into arrays which are given, those that are computed only there first.
        self._places = {i: f"o{i}" for i in places}
        self._given = {outputs[i]: name for i, name in reversed(self._places.items())}
        for node, name in tuple(self._given.items()):
            self._give_sum(node, name)
        # What is computed where it will be joined with others: the whole, and from where to where.
        self._slots: dict[Node, tuple[Node, int, int]] = {}
        for node in self._order:
            if node.fn is joined and node not in self._given:
                self._give_slots(node)
        self._workspace = Workspace(self._lives, outputs, view_of)
        self._turned = turned(self._order)

    def write(self) -> str:
        """Return the source."""
        for node in self._order:
            if node.fn is not None:
                self._write_statement(node)
                self._workspace.release(node)
        results = "".join(f"{self._result(i, node)}, " for i, node in enumerate(self._outputs))
        first, last = self._workspace.lines(self.names.bound.spell)
        given = [f"x{i}" for i in range(len(self._inputs))]
        if self._watch is not None:
            spell = self.names.bound.spell
            holds = f"{spell(isfinite, 'isfinite')}({self.names.operand(self._watch)})"
            call = f"{spell(self._general, 'general')}({', '.join(given)})"
            last.append(f"if not {holds}: return {call}")
        self._lines = [*first, *self._lines, *last, f"return ({results.strip()})"]
        arguments = [*given, *self._places.values()]
        head = f"def run({', '.join(arguments)}):"
        body = ("    " + line for line in self._lines)
        return "\n".join([*self.names.comments, head, *body, ""])

    def _give_sum(self, node: Node, name: str) -> None:
        """Let a sum of updates begin in the array where it is to end."""
        while node.fn is scatter and isinstance(node.args[0], Node):
            base = node.args[0]
            if base.fn is not scatter or not self._lives.may_overwrite(base, node):
                return
            node = base
            self._given.setdefault(node, name)

    def _give_slots(self, whole: Node) -> None:
        """Let the parts of what is joined be computed in their places."""
        for part, start, stop in parts_of(whole):
            source = reshaped(part)
            if source not in self._slots and source not in self._given and fills(source):
                self._slots[source] = whole, start, stop
                self._lives.join(source, whole)

    def _slot(self, node: Node) -> str | None:
        """Return the variable of the place that `node` is computed in, if it has one."""
        if node not in self._slots:
            return None
        whole, start, stop = self._slots[node]
        if whole not in self.names.local:
            name = self._slot(whole) or self._place(whole)
            if name is None:
                name = self.names.variable()
                self._lines.append(f"{name} = {empty(self.names, whole.shape, whole.dtype)}")
            self.names.local[whole] = name
        part, name = f"{self.names.local[whole]}[{start}:{stop}]", self.names.variable()
        if node.shape != (stop - start, *whole.shape[1:]):
            part += f".reshape({argument(self.names, node.shape)})"
        self._lines.append(f"{name} = {part}")
        return name

    def _place(self, node: Node) -> str | None:
        """Return the array of the workspace that `node` is computed in, if it is."""
        fits = fits_anywhere(node) and (node.ndim < 2 or node not in self._turned)
        if not fits or not self._workspace.may_hold(node, form(node)):
            return None
        return self._workspace.place(node, form(node))

    def _write_joined(self, node: Node) -> None:
        """Copy the parts that are not in their places yet."""
        name = self.names.local[node]
        for part, start, stop in parts_of(node):
            if self._slots.get(reshaped(part)) != (node, start, stop):
                self._lines.append(f"{name}[{start}:{stop}] = {self.names.operand(part)}")
        self._release(node, None)

    def _write_statement(self, node: Node) -> None:
        if node.fn is joined and node in self.names.local:
            self._write_joined(node)
            return
        lender, given = self._lender(node), self._given.get(node) or self._slot(node)
        place = None if lender or given else self._place(node)
        given = given or place
        if node.fn is scatter:
            name = self._write_update(node, lender, given)
            self._release(node, lender)
        elif given is not None:
            name = given
            if place and node.fn in FILLING:
                self._lines.append(FILLING[node.fn](self.names, node, place))
            else:
                self._lines += lines_into(self.names, node, given)
            self._release(node, None)
        elif lender is not None:
            name = self.names.local[lender]
            self._lines.append(written_into(self.names, node, name))
            self._workspace.pass_on(lender, node)
            self._release(node, lender)
        else:
            call = expression(self.names, node)
            self._release(node, None)
            name = self.names.variable()
            self._lines.append(f"{name} = {call}")
        self.names.local[node] = name

    def _lender(self, node: Node) -> Node | None:
        """Return an operand whose memory the result may take over."""
        candidates: tuple[Node, ...] = ()
        if node.fn is scatter:
            candidates = node.args[:1]
        elif node.is_elementwise:
            candidates = node.parents
        kind = node.shape, node.dtype
        return next(
            (
                x
                for x in candidates
                if x is not None
                and x.shape
                and (x.shape, x.dtype) == kind
                and self._lives.may_overwrite(x, node)
                and self._workspace.may_pass_on(x, node)
            ),
            None,
        )

    def _write_update(self, node: Node, lender: Node | None, given: str | None) -> str:
        """Write the addition of one update, and return the variable of the sum."""
        names, (base, shape, dtype, index, x) = self.names, node.args
        touched = Touched(shape, zeros=base is None)
        target = names.local[lender] if lender else given or ""
        if lender is not None and given in (None, target):
            touched = self._touched.pop(base, touched)
            self._workspace.pass_on(lender, node)
        elif given is not None:
            target = given
            start = f"[...] = {names.operand(base)}" if base else ".fill(0)"
            self._lines.append(f"{target}{start}")
        else:
            target = names.variable()
            kind = "" if dtype == np.float64 else f", {names.constant(dtype)}"
            zeros = f"{names.bind(np.zeros)}({argument(names, shape)}{kind})"
            self._lines.append(f"{target} = {names.operand(base) + '.copy()' if base else zeros}")
        self._lines += update_lines(names, target, index, x, touched)
        self._touched[node] = touched
        return target

    def _release(self, node: Node, lender: Node | None) -> None:
        """Free the variables of operands that are not needed after `node`."""
        for parent in dict.fromkeys(node.parents):
            if parent is not lender and self._lives.is_last_use(parent, node):
                self.names.release(parent)

    def _result(self, i: int, node: Node) -> str:
        """Return the expression of a result that aliases nothing and is C-contiguous."""
        if i in self._places:
            given = self._places[i]
            found = self.names.operand(node)
            if found != given:
                self._lines.append(f"{given}[...] = {found}")
            return given
        if node.is_constant:
            return f"{self.names.constant(np.asarray(node.value))}.copy()"
        name = self.names.operand(node)
        taken = node in self._given or node in self._slots or node in self._outputs[:i]
        if taken or not self._lives.is_private(node):
            return f"{name}.copy()"
        return name if node.ndim < 2 else f"{self.names.bind(np.ascontiguousarray)}({name})"


def live(outputs: list[Node]) -> list[Node]:
    """Return the nodes that outputs need, in the order in which they are computed."""
    found = set(outputs)
    pending = list(outputs)
    while pending:
        for parent in pending.pop().parents:
            if parent not in found:
                found.add(parent)
                pending.append(parent)
    return sorted(found, key=lambda node: node.index)


def _operands(node: Node) -> tuple[Node, ...]:
    return node.parents


def _owns(node: Node) -> bool:
    # The program writes ``np.broadcast_to`` as a new array.
    return node.fn is not None and (node.fn is np.broadcast_to or allocates(node.fn))


def _keeps(node: Node) -> bool:
    # A function of the user's may keep its arguments, or return them again another time.
    return node.fn is not None and not is_trusted(node.fn)
