"""Public names: complete, documented, and named by one grammar."""

import importlib.metadata
import inspect
import re
import types

import numpy as np
import pytest
from tables import main_name, operators

import diffface as dif
from diffface.backends.registry import ROWS
from diffface.operators.options import PREPARATION
from diffface.prep.operator import Seeds

pytestmark = pytest.mark.smoke

OPERATORS = operators()
NAMES = [name for operator in OPERATORS for name in operator.names.values()]
# Functions of a point that stays: they return what others would prepare.
AT_A_POINT = ["linearize", "vjp"]
# Main forms are documented in full, and the others refer to them.
MAIN = [main_name(operator) for operator in OPERATORS] + AT_A_POINT
SECTIONS = ["Parameters", "Returns", "Raises", "Examples"]


def documentation(name):
    return inspect.getdoc(getattr(dif, name)) or ""


def section(name, title):
    """Text of one numpydoc section."""
    pattern = rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+$|\Z)"
    found = re.search(pattern, documentation(name), re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def test_public_names_are_exactly_those_listed():
    visible = {
        name
        for name, value in vars(dif).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    own = {name for name in visible if "diffface" in getattr(vars(dif)[name], "__module__", "")}
    # Loaded when they are asked for.
    backends = {row.cls for row in ROWS.values()}
    assert own - backends == set(dif.__all__) - backends


@pytest.mark.parametrize("name", dif.__all__)
def test_every_public_name_is_documented(name):
    first, *rest = documentation(name).split("\n")
    assert first.endswith((".", ":", ";")), f"the summary of {name} is one line and a full stop"
    assert not rest or rest[0] == ""


def test_operators_are_the_main_functions():
    prepared = {name.removeprefix("prepare_") for name in dif.__all__ if "prepare_" in name}
    assert prepared == set(NAMES)
    assert set(NAMES + AT_A_POINT) <= set(dif.__all__)


@pytest.mark.parametrize("name", MAIN)
def test_main_forms_have_every_section_in_order(name):
    titles = re.findall(r"^(\w[\w ]*)\n-+$", documentation(name), re.MULTILINE)
    assert [title for title in titles if title in SECTIONS] == SECTIONS


@pytest.mark.parametrize("name", MAIN)
def test_main_forms_document_their_parameters(name):
    documented = re.findall(r"^([\w*, ]+?) :", section(name, "Parameters"), re.MULTILINE)
    parameters = inspect.signature(getattr(dif, name)).parameters.values()
    assert documented == [str(p).split(":")[0] for p in parameters]


@pytest.mark.parametrize("operator", OPERATORS, ids=main_name)
def test_main_forms_document_their_keywords(operator):
    text = section(main_name(operator), "Parameters")
    documented = re.findall(r"^(\w+) :.*\n +\S", text, re.MULTILINE)
    assert operator.keywords <= set(documented)
    assert len(documented) == len(set(documented))


@pytest.mark.parametrize("operator", OPERATORS, ids=main_name)
def test_variants_refer_to_the_main_form(operator):
    for name in operator.names.values():
        assert f":func:`{name}`" in documentation(f"prepare_{name}")
        if name != main_name(operator):
            assert f":func:`{main_name(operator)}`" in documentation(name)


@pytest.mark.parametrize("operator", OPERATORS, ids=main_name)
def test_function_first_then_arguments_then_keywords(operator):
    seeds = [] if operator.seeds is Seeds.NONE else [operator.seeds.value]
    for name in operator.names.values():
        called = inspect.signature(getattr(dif, name)).parameters
        prepared = inspect.signature(getattr(dif, f"prepare_{name}")).parameters
        start = 2 + len(seeds)
        assert list(called)[:start] == ["f", "args", *seeds]
        assert set(list(called)[start:]) == operator.keywords
        assert list(prepared)[:2] == ["f", "example_args"]
        assert set(list(prepared)[2:]) == (operator.keywords - {"out"}) | PREPARATION


def test_keywords_show_their_defaults():
    shown = inspect.signature(dif.prepare_jacobian).parameters
    defaults = {name: p.default for name, p in shown.items() if p.kind is p.KEYWORD_ONLY}
    assert defaults | {
        "backend": None, "argnums": None, "has_aux": False, "kwargs": None, "mode": "auto",
        "chunk_size": None, "holomorphic": False, "on_mismatch": "error", "fallback": "eager",
        "sparsity": None, "format": None, "check": "once",
    } == defaults  # fmt: skip
    assert inspect.signature(dif.objective).parameters["argnums"].default == 0


def test_dir_is_what_is_public():
    assert dir(dif) == sorted([*dif.__all__, "__version__", "backends", "testing"])
    assert all(hasattr(dif, name) for name in dir(dif))
    for module in (dif.backends, dif.testing):
        assert dir(module) == sorted(module.__all__)
    assert dif.__version__ == importlib.metadata.version("diffface")


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("grad", "`diffface.gradient`"),
        ("jacfwd", '`diffface.jacobian` with `mode="forward"`'),
        ("jacrev", '`diffface.jacobian` with `mode="reverse"`'),
        ("jvp", "`diffface.pushforward`"),
        ("value_and_grad", "`diffface.value_and_gradient`"),
        ("check", "`diffface.testing.check`"),
        ("vmap", "`in_axes=` of every operator, for many points"),
    ],
)
def test_names_of_other_libraries_lead_to_ours(name, ours):
    message = f"module 'diffface' has no attribute {name!r}; use {ours}."
    with pytest.raises(AttributeError, match=f"^{re.escape(message)}$"):
        getattr(dif, name)


def test_keywords_of_preparations_are_their_own():
    assert not PREPARATION & frozenset().union(*(o.keywords for o in OPERATORS))


@pytest.mark.parametrize("name", [n for n in dif.__all__ if n.endswith("Error")])
def test_errors_are_those_a_caller_would_catch(name):
    error = getattr(dif, name)
    standard = next(c for c in error.__mro__ if c.__module__ == "builtins")
    assert issubclass(error, dif.DifffaceError)
    assert (standard is Exception) == (error is dif.DifffaceError)


def test_reprs_say_what_things_are():
    f, x = np.sum, np.ones(2)
    objective = dif.objective(f, x)
    things = [
        dif.Const(x), dif.Cache(x), objective, objective.ipopt(), dif.residuals(np.sin, x),
        dif.log_density(f, x), dif.log_density(f, x, transforms=dif.positive).unravel,
        dif.ravel({"a": x})[1], dif.custom_rule(np.sin), dif.bridge(np.sin, "numpy"), dif.simplex,
        dif.prepare_gradient(f), dif.prepare_hessian(f, sparsity="trace"),
        dif.SecondOrder("numpy", "complex-step"), dif.using("numpy"), *dif.list_backends(),
    ]  # fmt: skip
    for thing in things:
        assert " object at 0x" not in repr(thing)
