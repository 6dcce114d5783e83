"""Functions with derivatives that the user states, once for all backends."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

from diffface.backends.adapter import Adapter
from diffface.backends.errors import InvalidArgumentError
from diffface.backends.registry import evaluating, owner_of
from diffface.backends.rule import called_while_tracing, leave_whole
from diffface.prep.arguments.tree import flatten, leaves_of, unflatten
from diffface.prep.portable import has_name
from diffface.rules.arguments import Arguments, called, is_array, signature_of, split, tells_none
from diffface.rules.derivatives import RuledOperation
from diffface.rules.operation import (
    Derivative,
    Names,
    Operation,
    Table,
    copied,
    notes,
    numpy_adapter,
    protected,
)

Rule = Callable[..., Any]

# How many operations a function keeps: one for each set of static arguments.
_KEPT = 256


class CustomRule:
    """A function with rules; see `diffface.custom_rule`, which makes it.

    Attributes
    ----------
    name : str
        What messages call it.
    signature : inspect.Signature
        Of the function.
    """

    def __init__(
        self, f: Callable[..., Any], black_box: bool, copy: bool, shape: Callable[..., Any] | None
    ) -> None:
        if not callable(f):
            raise InvalidArgumentError(f"`f` must be callable, got {type(f).__name__}.")
        functools.update_wrapper(self, f, updated=())
        self.name = getattr(f, "__name__", type(f).__name__)
        self.black_box = black_box
        self.copy = copy
        self.shape = shape
        self.pulls = Table()
        self.pushes = Table()
        self.saver: Callable[..., Any] | None = None
        # Whether a batch of calls is one call on arrays with a leading axis.
        self.elementwise = False
        self._f = f
        self.signature = signature_of(f)
        self._operations: OrderedDict[Any, Operation] = OrderedDict()
        # Compilers know it by its identity.
        self._whole = self._call

    def __repr__(self) -> str:
        return f"<custom rule {self.name}{self.signature}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # By name, under which the function that it was made of is not found any more.
        return vars(self)["__qualname__"] if has_name(self) else super().__reduce_ex__(protocol)

    # Registration

    def pullback(
        self,
        rule: Rule | None = None,
        *,
        active: str | Iterable[str] | None = None,
        black_box: bool = False,
    ) -> Any:
        """Register ``rule(active, saved, dy)``, which returns ``J^H dy``; a decorator.

        Parameters
        ----------
        rule : callable
            Takes the set of names of the active arguments, what `residuals` saved, and a cotangent
            like the result; returns a tuple with one entry per argument, like the argument, and
            None where it is not active. By the convention for complex numbers of
            `diffface.pullback`.
        active : str or iterable of str, optional
            The rule is for when these arguments are active, or some of them. By default it is for
            any.
        black_box : bool, default False
            The rule is NumPy code. Then it has no second derivatives.
        """
        return self._register(self.pulls, rule, active, black_box)

    def pushforward(
        self,
        rule: Rule | None = None,
        *,
        active: str | Iterable[str] | None = None,
        black_box: bool = False,
    ) -> Any:
        """Register ``rule(active, args, tangents)``, which returns ``J dx``; a decorator.

        Parameters
        ----------
        rule : callable
            Takes the set of names of the active arguments, the arguments, and a tuple of tangents,
            one like each argument and None where it is not active; returns a tangent like the
            result.
        active, black_box
            As for `pullback`.
        """
        return self._register(self.pushes, rule, active, black_box)

    def residuals(self, save: Rule) -> Rule:
        """Register ``save(active, y, *args)``, which returns what `pullback` will need.

        By default that is ``(y, *args)``.
        """
        self.saver = save
        return save

    def _register(
        self, table: Table, rule: Rule | None, active: str | Iterable[str] | None, black_box: bool
    ) -> Any:
        if tells_none(self.signature):
            raise InvalidArgumentError(
                f"`{self.name}` does not tell its parameters, by which rules go; wrap it in a "
                "function that names them, such as `lambda x: f(x)`."
            )
        names = None if active is None else self._names(active)

        def register(rule: Rule) -> Rule:
            table.rules[names] = Derivative(rule, black_box)
            return rule

        return register if rule is None else register(rule)

    def _names(self, active: str | Iterable[str]) -> Names:
        names = frozenset([active] if isinstance(active, str) else active)
        unknown = names - set(self.signature.parameters)
        if unknown or not names:
            shown = ", ".join(f"`{name}`" for name in sorted(unknown)) or "none"
            raise InvalidArgumentError(
                f"`active` must name arguments of `{self.name}` "
                f"({', '.join(self.signature.parameters)}), got {shown}."
            )
        return names

    # Calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value, with its rules for derivatives."""
        self._tell_compilers()
        return self._whole(*args, **kwargs)

    @called_while_tracing
    def _tell_compilers(self) -> None:
        leave_whole(self._whole)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        values = tuple(bound.arguments.values())
        if (calls := notes.get()) is not None:
            calls.append((self, values))
        adapter = owner_of(leaf for value in values for leaf in leaves_of(value))
        if not self._needs_a_primitive(adapter):
            return self.compute([_mapped(self._protected, value) for value in values])
        own = adapter or numpy_adapter()
        arguments, x = split(tuple(bound.arguments), values, own)
        if not x:
            return self._of_constants(values)
        if self.copy:
            # What is saved must not change when somebody overwrites it.
            x = tuple(map(copied, x))
        operation = self._operation(arguments, own)
        y = operation.evaluate(x) if adapter is None else adapter.primitive(operation, x)
        return unflatten(operation.tree(x), y)

    def _of_constants(self, values: Sequence[Any]) -> Any:
        return self.compute(values)

    def _needs_a_primitive(self, adapter: Adapter | None) -> bool:
        if adapter is None:
            return False
        if self.pulls.rules or self.pushes.rules:
            return True
        # Without rules, only what is NumPy code and not evaluated on NumPy arrays.
        return self.black_box and adapter is not evaluating.get()

    def _protected(self, leaf: Any) -> Any:
        return protected(leaf, self.copy) if is_array(leaf) else leaf

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def compute(self, args: Sequence[Any]) -> Any:
        """The function itself, at one value for each parameter."""
        return called(self._f, self.signature, args)

    def _operation(self, arguments: Arguments, adapter: Adapter) -> Operation:
        """The operation of a call; kept where compiled programs refer to it."""
        if not (self.black_box or self.pulls.on_host or self.pushes.on_host):
            return self._make(arguments, adapter)
        key: Any = adapter, arguments.key
        try:
            known = self._operations.get(key)
        except TypeError:  # a static argument that cannot be hashed
            known, key = None, object()
        if known is None:
            known = self._operations[key] = self._make(arguments, adapter)
            while len(self._operations) > _KEPT:
                self._operations.popitem(last=False)
        return known

    def _make(self, arguments: Arguments, adapter: Adapter) -> Operation:
        return RuledOperation(self, arguments, adapter)


def _mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    leaves, spec = flatten(tree)
    return unflatten(spec, map(change, leaves))


@overload
def custom_rule(f: Callable[..., Any], /) -> CustomRule: ...
@overload
def custom_rule(
    *, black_box: bool = False, copy: bool = True, shape: Callable[..., Any] | None = None
) -> Callable[[Callable[..., Any]], CustomRule]: ...
def custom_rule(
    f: Callable[..., Any] | None = None,
    /,
    *,
    black_box: bool = False,
    copy: bool = True,
    shape: Callable[..., Any] | None = None,
) -> Any:
    """Give ``f`` derivatives of your own, on every backend; a decorator.

    The result is called like ``f``. Its methods ``pullback``, ``pushforward`` and ``residuals``
    register rules; one is enough. Which one is used depends on the arguments that are active: the
    rule for the smallest set that contains them, then the general rule, then the rule of the other
    mode, transposed, then the derivative of ``f`` itself. Finite differences step through ``f`` and
    use no rule.

    Parameters
    ----------
    f : callable
        Takes arrays, trees of arrays, and static arguments; returns an array or a tree. Portable,
        that is, written with `diffface.namespace`, unless it is a black box. A derivative is that
        with respect to its arguments; what it captures is constant.
    black_box : bool, default False
        ``f`` is any NumPy code, unknown to the framework: it is called on the host, in compiled
        programs as well. It must have a rule to be differentiated.
    copy : bool, default True
        ``f`` and rules that are NumPy code get copies of arrays that they could write to, and the
        rules those from before the call. With False nothing is copied, and a function or a rule
        that writes to what it is given is an error.
    shape : callable, optional
        For a black box: takes the arguments (arrays of ones) and returns arrays like the results.
        By default ``f`` is evaluated once where a program is compiled and values are hidden.

    Returns
    -------
    CustomRule
        The function.

    Raises
    ------
    NotDifferentiableError
        At a call, if a rule returns something that does not fit, or none is there.
    UnsupportedOperatorError
        At a call, if the backend takes no rules.

    Examples
    --------
    >>> import numpy as np
    >>> import diffface as dif
    >>> @dif.custom_rule
    ... def square_sum(x, a):
    ...     return dif.namespace(x).sum(a * x * x)
    >>> @square_sum.pullback
    ... def _(active, saved, dy):
    ...     y, x, a = saved
    ...     return 2 * a * x * dy, x * x * dy if "a" in active else None
    >>> dif.gradient(square_sum, np.array([1.0, 2.0]), dif.Const(np.ones(2)), backend="jax")
    array([2., 4.])
    """
    if f is None:
        return lambda g: CustomRule(g, black_box, copy, shape)
    return CustomRule(f, black_box, copy, shape)
