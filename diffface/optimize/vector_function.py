"""A user's function as optimizers call it: of one flat vector, and constants."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from diffface.backends.adapter import Adapter
from diffface.backends.registry import Backend
from diffface.operators.call import backend_for, refuse
from diffface.operators.options import check_choice, settings
from diffface.optimize.ravel import floating, ravel_with
from diffface.prep.arguments.bind import bind

# (result of f, x, adapter) -> result as the optimizer needs it; runs inside the prepared program.
Finish = Callable[[Any, Any, Adapter], Any]


class ProblemOptions(TypedDict, total=False):
    """Keywords of everything that hands a function to an optimizer.

    Attributes
    ----------
    backend : str or backend object, optional
        Who differentiates; see :func:`diffface.gradient`.
    argnums : int or sequence of int, default 0
        Which arguments are the parameters; the others are constants, in ``Const`` or not.
    kwargs : mapping, optional
        Constants passed to ``f`` by name.
    fallback : {"eager", "error"}
        What to do with a function that depends on values and so cannot be recorded.
    """

    backend: str | Backend | None
    argnums: int | Sequence[int] | None
    kwargs: Mapping[str, Any] | None
    fallback: Literal["eager", "error"]


def check(f: Callable[..., Any], options: ProblemOptions, name: str) -> None:
    """Refuse what is no function, and options that there are not, of the function ``name``."""
    if not callable(f):
        refuse(f)
    settings(options, ProblemOptions.__optional_keys__, name)
    check_choice(options, "fallback", ("eager", "error"))


class VectorFunction:
    """``(x, *constants, **kwargs) -> f(...)`` with ``x`` of shape (n,) in place of the parameters.

    Flattening happens inside the prepared program, where it is recorded and costs nothing.

    Attributes
    ----------
    x0 : numpy.ndarray of shape (n,), float64
        The parameters it was made with.
    unravel : Unravel
        From ``x`` to the parameters: a tree, or a tuple of trees for several arguments.
    constants : tuple
        The other arguments it was made with.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        args: Sequence[Any],
        options: ProblemOptions,
        finish: Finish,
        name: str,
    ) -> None:
        check(f, options, name)
        argnums = options.get("argnums")
        call = bind(args, 0 if argnums is None else argnums, options.get("kwargs"))
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.backend = backend_for(options.get("backend"), call)
        self._f = f
        self._finish = finish
        self._active, self._bare = call.active, call.bare
        self._adapter = self.backend.first_order()
        self._options: dict[str, Any] = {
            "backend": self.backend, "argnums": 0, "on_mismatch": "reprepare",
            "kwargs": options.get("kwargs"), "fallback": options.get("fallback", "eager"),
        }  # fmt: skip
        values = call.values[: len(args)]
        entries = tuple(floating(values[i]) for i in call.active)
        tree = entries[0] if call.bare else entries
        self.x0, self.unravel = ravel_with(tree, self._adapter, "x0")
        self.constants = tuple(v for i, v in enumerate(values) if i not in call.active)

    def __call__(self, x: Any, /, *constants: Any, **kwargs: Any) -> Any:
        tree = self.unravel.split(x)
        args = list(constants)
        for i, entry in sorted(zip(self._active, (tree,) if self._bare else tree, strict=True),
                               key=lambda pair: pair[0]):  # fmt: skip
            args.insert(i, entry)
        return self._finish(self._f(*args, **kwargs), x, self._adapter)

    def __repr__(self) -> str:
        return f"{self.__name__}, {self.unravel.size} parameters, by {self.backend!r}"

    def point(self, x: Any) -> Any:
        """``x`` checked, in the dtype that the parameters have in common."""
        return self.unravel.checked(x).astype(self.unravel.dtype, copy=False)

    def all_constants(self, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """The constants of a call: those given with it, then those it was made with."""
        return given + self.constants[len(given) :]

    def prepared(self, prepare: Callable[..., Any]) -> "AtFirstCall":
        """``prepare`` of this function, done when it is first called."""
        return AtFirstCall(self, prepare, self._options)


class AtFirstCall:
    """An operator that is prepared when it is first called: optimizers need few of them."""

    __slots__ = ("_function", "_options", "_prepare", "prepared")

    def __init__(
        self, function: VectorFunction, prepare: Callable[..., Any], options: dict[str, Any]
    ) -> None:
        self._function = function
        self._prepare = prepare
        self._options = options
        self.prepared: Any = None

    def __call__(self, x: Any, constants: tuple[Any, ...], **seeds: Any) -> Any:
        if self.prepared is None:
            self.prepared = self._prepare(self._function, x, *constants, **self._options)
        return self.prepared(x, *constants, **seeds)
