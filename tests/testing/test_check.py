"""`diffface.testing.check` on functions that are what it has to recognise."""

import re
import sys
from pathlib import Path

import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers import AD, BACKENDS, ROOT
from scipy.special import erf

import diffface as dif
from diffface.testing import Finding, check, scenarios

X = np.array([0.5, 0.0, -2.0])
xp_of = dif.namespace


def reasons(report):
    """What each finding is about, without those that only say who cannot run the function."""
    return {(f.kind, f.backends) for f in report.findings if f.kind != "no result"}


def kinds(report):
    return {f.kind for f in report.findings if f.kind != "no result"}


def text(report, kind):
    (found,) = [f.text for f in report.findings if f.kind == kind]
    return found


def verdicts(report, backend):
    return {row.verdict for row in report.rows if row.backend == backend}


# Where nothing is wrong


@pytest.mark.slow
@pytest.mark.parametrize("scenario", scenarios()[::20], ids=lambda s: s.name)
def test_right_derivatives_agree(scenario):
    report = check(
        scenario.f, *scenario.args, argnums=scenario.argnums, kwargs=scenario.kwargs,
        has_aux=scenario.has_aux, holomorphic=scenario.holomorphic,
    )  # fmt: skip
    assert report.ok, report
    assert kinds(report) == set()


def rosenbrock(x):
    return xp_of(x).sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_every_operator_on_every_backend():
    report = check(rosenbrock, X, backends=BACKENDS)
    assert report.ok, report
    operators = ["value", "gradient", "jacobian", "pullback", "pushforward", "hessian", "hvp"]
    for name in BACKENDS:
        rows = [row for row in report.rows if row.backend == name]
        assert [row.operator for row in rows] == operators
        assert all(0 <= row.unprepared <= row.tolerance for row in rows)
        assert all(0 <= row.prepared <= row.tolerance for row in rows)
    assert str(report).startswith("Derivatives of rosenbrock: maximal relative errors\nbackend ")
    assert str(report).endswith("\n\nAll agree: jax, torch, autograd, numpy, complex-step.")


def test_a_number_has_derivatives_too():
    report = check(lambda t: xp_of(t).exp(t), 0.5, backends=["autograd", "numpy"])
    names = {row.operator for row in report.rows}
    assert {"derivative", "second_derivative", "gradient", "hessian"} <= names
    report = check(lambda t: xp_of(t).exp(t * X), 0.5, backends=["autograd", "numpy"])
    names = {row.operator for row in report.rows}
    assert {"derivative", "second_derivative", "jacobian"} <= names
    assert not {"gradient", "hessian", "hvp"} & names
    assert report.ok


@pytest.mark.slow
def test_float32_arguments_are_asked_for_less():
    report = check(rosenbrock, X.astype(np.float32), backends=AD)
    assert report.ok, report
    (tolerance,) = {row.tolerance for row in report.rows if row.backend == "jax"}
    assert tolerance == pytest.approx(np.finfo(np.float32).eps ** 0.6)


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0.0, 1e10])
@pytest.mark.parametrize("x", [[0.1, 0.1], [1e3, 1.0]])
def test_zero_gradients_and_large_values(x, offset):
    report = check(lambda x: xp_of(x).sum((x - 0.1) ** 2) + offset, np.array(x), backends=AD)
    assert report.ok, report


@pytest.mark.slow
def test_many_coordinates():
    x = np.linspace(-1.0, 1.0, 200)
    assert check(rosenbrock, x, backends=["autograd", "torch"]).ok


# Functions without a derivative


@pytest.mark.slow
@pytest.mark.parametrize(
    ("f", "below", "above"),
    [
        (lambda x: xp_of(x).sum(xp_of(x).abs(x)), "-1", "1"),
        (lambda x: xp_of(x).sum(xp_of(x).where(x > 0, x, 0.1 * x)), "0.1", "1"),
        (lambda x: xp_of(x).max(x * xp_of(x).stack([x[1], x[1] + 1, x[1]])), "-2", "1"),
        (lambda x: xp_of(x).sqrt(xp_of(x).abs(x[1])) + x[0], "infinite", "infinite"),
    ],
    ids=["abs", "leaky relu", "maximum", "root"],
)
def test_kinks(f, below, above):
    report = check(f, X, backends=["jax", "torch", "autograd", "numpy"])
    assert "kink" in kinds(report), report
    found = text(report, "kink")
    assert "`x[1]`" in found
    assert "`x[0]`" not in found
    assert f"{below} from below, {above} from above" in found


def test_the_whole_message_about_a_kink():
    report = check(lambda x: xp_of(x).sum(xp_of(x).abs(x)), X, backends=["autograd"])
    assert text(report, "kink") == (
        "`f` has a kink at this point: along `x[1]` the slopes from the two sides differ (of the "
        "last: -1 from below, 1 from above), so there is no derivative; each backend gives a "
        "number by its own rule."
    )


@pytest.mark.slow
def test_a_maximum_with_a_tie():
    report = check(lambda x: xp_of(x).max(x), np.array([2.0, 2.0, 1.0]), backends=BACKENDS)
    assert not report.ok
    assert "along `x[0]`, `x[1]` the slopes" in text(report, "kink")


@pytest.mark.slow
def test_a_kink_of_the_first_derivative():
    report = check(lambda x: xp_of(x).sum(xp_of(x).where(x > 0, x**2, 0 * x)), X, backends=AD)
    assert not report.ok
    assert text(report, "kink").startswith("the derivative of `f` has a kink")
    assert "0 from below, 2 from above" in text(report, "kink")
    assert {row.operator for row in report.wrong} == {"hessian", "hvp"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "f",
    [
        lambda x: xp_of(x).sum(xp_of(x).where(x > 0, x + 1, x)),
        lambda x: xp_of(x).sum(xp_of(x).sign(x) * x**2 + xp_of(x).floor(x)),
    ],
    ids=["where", "floor"],
)
def test_jumps(f):
    report = check(f, X, backends=AD)
    assert not report.ok
    assert "jump" in kinds(report)
    assert "along `x[1]`" in text(report, "jump")


@pytest.mark.slow
def test_a_branch_that_depends_on_the_value():
    def f(t):
        return t * t if t > 0 else 1 + t

    report = check(f, 0.0, backends=AD)
    assert not report.ok
    assert kinds(report) == {"jump", "branch"}
    assert "return t * t if t > 0 else 1 + t" in text(report, "branch")
    # Away from the point where it decides, nothing is wrong; it only cannot be recorded.
    report = check(f, 1.0, backends=AD)
    assert report.ok
    assert reasons(report) == {("branch", AD)}


def test_random_functions():
    generator = np.random.default_rng(0)

    def f(x):
        return xp_of(x).sum(x**2) * float(generator.normal())

    report = check(f, X, backends=["torch", "autograd"])
    assert not report.ok
    assert "random" in kinds(report)
    assert re.match(
        r"two evaluations at the same point differ by \d\.\de[+-]\d\d:", text(report, "random")
    )


@pytest.mark.slow
def test_no_value_at_the_point_or_beside_it():
    report = check(lambda x: xp_of(x).sum(xp_of(x).log(x)), X, backends=AD)
    assert text(report, "nan") == "the value of `f` itself is not finite at this point."
    report = check(lambda x: xp_of(x).sum(x * xp_of(x).sqrt(x)), X[:2], backends=AD)
    assert text(report, "edge") == (
        "the point is at the edge of where `f` is finite: along `x[1]` it has no finite value "
        "below, so that differences tell nothing."
    )


# Results that are wrong, of functions that are not


def safe_root(x):
    xp = xp_of(x)
    return xp.sum(xp.where(x > 0, xp.sqrt(x), 0 * x)) + xp.sum(x)


@pytest.mark.slow
def test_the_branch_that_where_does_not_take():
    report = check(safe_root, np.array([0.5, -1.0]), backends=BACKENDS)
    assert reasons(report) == {("nan", AD)}
    assert verdicts(report, "complex-step") == {"agrees"}
    line = safe_root.__code__.co_firstlineno + 2
    assert text(report, "nan") == (
        "`f` and its differences are finite, but derivatives are not: the value of the branch that "
        f"`where` does not take is not finite, at {__file__}:{line} in safe_root: `return "
        "xp.sum(xp.where(x > 0, xp.sqrt(x), 0 * x)) + xp.sum(x)`; its derivative is multiplied by "
        "zero, and 0 * inf is NaN. Give that branch a harmless argument: "
        "where(c, g(where(c, x, 1)), 0)."
    )


def test_an_infinite_slope_that_where_does_not_take():
    def f(x):
        xp = xp_of(x)
        root = xp.abs(x) ** 0.25
        return xp.sum(xp.where(xp.abs(x) > 1, root, x))

    report = check(f, np.array([0.0, 3.0]), backends=["torch", "autograd"])
    assert not report.ok
    assert kinds(report) == {"nan"}
    assert "the slope of the branch that `where` does not take is infinite" in text(report, "nan")


@pytest.mark.slow
def test_nan_from_elsewhere():
    report = check(lambda x: torch.sum(torch.sqrt(x) ** 4), torch.zeros(2, dtype=torch.float64))
    assert "no result" in {f.kind for f in report.findings}
    assert not report.ok


@pytest.mark.slow
def test_a_cast_to_float32_inside():
    def f(x):
        xp = xp_of(x)
        return xp.sum(xp.astype(xp.sin(xp.astype(x, xp.float32)), xp.float64) * x**2)

    report = check(f, X, backends=["jax", "torch", "autograd", "numpy"])
    assert not report.ok
    assert kinds(report) == {"float32"}
    assert "though its arguments are in double precision" in text(report, "float32")


@pytest.mark.slow
def test_a_constant_of_float32_is_no_cast():
    report = check(lambda x, a: xp_of(x).sum(a * x**2), X, dif.Const(np.float32(2)), backends=AD)
    assert report.ok, report


class Wirtinger(torch.autograd.Function):
    """sum |z|², with the conjugate of what PyTorch's convention asks for."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        return torch.sum(torch.abs(z) ** 2)

    @staticmethod
    def setup_context(context, inputs, output):
        context.save_for_backward(*inputs)
        context.save_for_forward(*inputs)

    @staticmethod
    def backward(context, dy):
        (z,) = context.saved_tensors
        return 2 * torch.conj(z) * dy

    @staticmethod
    def jvp(context, dz):
        (z,) = context.saved_tensors
        return 2 * torch.real(torch.conj(z) * dz).sum()


def wirtinger(z):
    if isinstance(z, torch.Tensor):
        return Wirtinger.apply(z)
    xp = xp_of(z)
    return xp.sum(xp.abs(z) ** 2)


def test_conjugates():
    z = np.array([1.0 + 2.0j, 0.5 - 1.0j])
    report = check(wirtinger, z, backends=["jax", "torch", "autograd"])
    assert not report.ok
    assert reasons(report) == {("conjugate", ("torch",))}
    assert {(row.backend, row.operator) for row in report.wrong} == {
        ("torch", "gradient"), ("torch", "pullback"),
    }  # fmt: skip


@pytest.mark.slow
def test_holomorphic_or_not():
    report = check(lambda z: xp_of(z).exp(z), 1.0 + 2.0j, holomorphic=True, backends=AD)
    assert report.ok, report
    assert {"derivative", "jacobian"} <= {row.operator for row in report.rows}
    report = check(lambda z: xp_of(z).conj(z) * z, 1.0 + 2.0j, holomorphic=True, backends=AD)
    assert not report.ok
    assert text(report, "not holomorphic") == (
        "`f` is not holomorphic in z: its slope is 2+0j along the real axis and 4+0j along the "
        "imaginary one, which should be 1j times the former. Look for conj, abs, real or imag; or "
        "leave holomorphic out and use pushforward or pullback."
    )


@jax.custom_jvp
def wrong_sine(x):
    return jnp.sin(x)


wrong_sine.defjvp(lambda x, dx: (jnp.sin(x[0]), jnp.sin(x[0]) * dx[0]))


@pytest.mark.parametrize(
    ("f", "backend"),
    [
        (lambda x: xp_of(x).sum(x * (x.detach() if hasattr(x, "detach") else x)), "torch"),
        (lambda x: xp_of(x).sum(wrong_sine(x) if isinstance(x, jax.Array) else xp_of(x).sin(x)),
         "jax"),
    ],
    ids=["detach", "custom rule"],
)  # fmt: skip
def test_rules_that_are_wrong(f, backend):
    report = check(f, X + 1, backends=AD)
    assert not report.ok
    assert reasons(report) == {("rule", (backend,))}
    assert {row.backend for row in report.wrong} == {backend}


@dif.custom_rule
def weighted(x, a):
    return xp_of(x).sum(a * x * x)


@weighted.pullback
def _(active, saved, dy):
    _, x, a = saved
    return 3 * a * x * dy, x * x * dy


wrong_erf = dif.elementwise(erf, lambda x: xp_of(x).exp(-x * x))
bridged_sine = dif.bridge(wrong_sine, backend="jax")
wrong_root = dif.implicit(lambda x, p: x * x - p, lambda p: np.sqrt(p) + 0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("f", "clause"),
    [
        (lambda x: weighted(x, x + 1),
         "the pullback rule of `weighted` (FILE) is wrong with respect to `x`."),
        (lambda x: xp_of(x).sum(wrong_erf(2 * x)),
         "the partial derivative of `erf` is wrong with respect to `x`."),
        (lambda x: xp_of(x).sum(bridged_sine(2 * x)),
         "the derivative of the bridged `wrong_sine` (FILE) is wrong with respect to `x`."),
        (lambda x: xp_of(x).sum(wrong_root(2 * x)),
         "the derivative of `<lambda>` (FILE) is wrong with respect to `p`."),
    ],
    ids=["custom rule", "elementwise", "bridge", "implicit"],
)  # fmt: skip
def test_custom_rules_that_are_wrong_are_named(f, clause):
    report = check(f, np.abs(X) + 1, backends=["autograd"], operators=["gradient"])
    assert not report.ok
    found = re.sub(r"\(/[^)]*test_check.py:\d+\)", "(FILE)", text(report, "rule"))
    assert found == (
        "the value of `f` agrees, and differences of it converge, to something else than "
        f"gradient: {clause}"
    )


@pytest.mark.slow
def test_another_value_on_one_backend():
    def f(x):
        factor = 1.001 if isinstance(x, torch.Tensor) else 1.0
        return xp_of(x).sum(x**2) * factor

    report = check(f, X, backends=AD)
    assert reasons(report) == {("value", ("torch",))}


@pytest.mark.slow
def test_decisions_that_a_preparation_would_freeze():
    def f(x):
        # What jax.jit shows of an array while it traces.
        factor = 2.0 if "JitTracer" in str(x) else 1.0
        return factor * xp_of(x).sum(x**2)

    report = check(f, X, backends=["jax", "numpy"])
    assert report.ok
    assert reasons(report) == {("branch", ("jax",))}
    assert "its record gives another result than the function itself" in text(report, "branch")


@pytest.mark.slow
def test_decisions_that_a_preparation_freezes():
    def f(x):
        xp = xp_of(x)
        # The program agrees with the plain call where it is prepared, and only there.
        bound = 0.5 if "JitTracer" in str(x) else 5.0
        return xp.sum(xp.where(x == bound, 2.0, 1.0) * x**2)

    report = check(f, X, backends=["jax", "numpy"])
    assert not report.ok
    assert reasons(report) == {("frozen", ("jax",))}
    assert text(report, "frozen").startswith("the prepared ")
    assert "disagrees where the unprepared one agrees: a preparation freezes" in text(
        report, "frozen"
    )


def test_the_step_of_finite_differences():
    f = lambda x: xp_of(x).sum(xp_of(x).sin(10.0 * x))
    x, wide = np.array([1.0, 2.0]), dif.FiniteDifferences(step=0.05)
    report = check(f, x, backends=["autograd", wide])
    assert not report.ok
    assert reasons(report) == {("step", (repr(wide),))}
    assert verdicts(report, "autograd") == {"agrees"}
    step = float(re.search(r"pass FiniteDifferences\(step=(\S+)\)", text(report, "step"))[1])
    gradient = dif.gradient(f, x, backend=dif.FiniteDifferences(step=step))
    np.testing.assert_allclose(gradient, 10 * np.cos(10 * x), rtol=1e-4)


# Backends that cannot


@pytest.mark.slow
@pytest.mark.parametrize(
    ("f", "runs"),
    [
        (lambda x: jnp.sum(jnp.sin(x)), {"jax"}),
        (lambda x: torch.sum(torch.sin(x)), {"torch"}),
        (lambda x: anp.sum(anp.sin(x) * x[0]), {"autograd", "numpy", "complex-step"}),
    ],
    ids=["jax", "torch", "autograd"],
)
def test_native_functions(f, runs):
    report = check(f, X)
    assert report.ok, report
    others = set(BACKENDS) - runs
    assert {b for f in report.findings for b in f.backends} == others
    names = ", ".join(name for name in BACKENDS if name in runs)
    for finding in report.findings:
        assert re.match(
            f"cannot (run|differentiate) this function, which runs on {names}: ", finding.text
        )
    # By name, they have to.
    report = check(f, X, backends=BACKENDS)
    assert not report.ok
    assert {row.backend for row in report.wrong} == others


def test_nobody_can():
    def f(x):
        raise RuntimeError("no")

    report = check(f, X)
    assert not report.ok
    (finding,) = report.findings
    assert finding.backends == BACKENDS
    assert re.fullmatch(
        r"cannot run this function: RuntimeError: no, at .*test_check\.py:\d+ in f: `raise .*`",
        finding.text,
    )
    assert repr(report) == str(report)
    assert str(report).split("\n\n")[1].startswith("There is no result.\n- no result (jax, ")


@pytest.mark.slow
def test_operators_that_a_backend_refuses():
    report = check(lambda x: xp_of(x).sum(xp_of(x).abs(x)), X + 1)
    assert report.ok, report
    ((kind, backends),) = {(f.kind, f.backends) for f in report.findings}
    assert (kind, backends) == ("no result", ("complex-step",))


# Arguments


@pytest.mark.slow
def test_constants_keywords_aux_and_argnums():
    def f(p, a, x, *, k):
        xp = xp_of(x, p["u"])
        return {"y": k * a * xp.sin(x) * p["u"]}, "aux"

    args = ({"u": X + 1}, 3.0, X)
    options = {"has_aux": True, "kwargs": {"k": 2.0}, "backends": AD}
    report = check(f, args[0], dif.Const(3.0), X, **options)
    assert report.ok, report
    for argnums in (0, (2, 0), -1):
        report = check(f, *args, argnums=argnums, **options)
        assert report.ok, report


def test_names_of_coordinates():
    report = check(
        lambda p: xp_of(p["u"]).abs(p["v"][0]) + xp_of(p["u"]).sum(p["u"]),
        {"u": X, "v": [np.array(0.0)]}, backends=["autograd"],
    )  # fmt: skip
    assert "along `p['v'][0]` the slopes" in text(report, "kink")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jax", "torch"])
def test_arrays_of_frameworks(kind):
    from helpers import make

    report = check(rosenbrock, make(kind, X))
    assert report.ok, report


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ((dif.Const(X),), {}, dif.InvalidArgumentError, "There is no active argument: every one "
         "is Const, or `argnums` is empty. Leave at least one argument outside Const."),
        ((X,), {"argnums": 1}, dif.InvalidArgumentError,
         "`argnums` must be within -1 and 0 for 1 argument, got 1."),
        ((X,), {"backends": []}, dif.InvalidArgumentError,
         "`backends` must be a sequence of names or backend objects, got []."),
        ((X,), {"backends": "jax"}, dif.InvalidArgumentError,
         "`backends` must be a sequence of names or backend objects, got 'jax'."),
        ((X,), {"backends": ["jaxx"]}, dif.UnknownBackendError,
         "There is no backend 'jaxx'. Did you mean 'jax'? Installed: 'jax', 'torch', 'autograd', "
         "'numpy', 'complex-step'."),
    ],
)  # fmt: skip
def test_wrong_usage(args, options, error, message):
    with pytest.raises(error) as caught:
        check(rosenbrock, *args, **options)
    assert str(caught.value) == message


def test_a_function_that_is_none():
    with pytest.raises(dif.NotDifferentiableError) as caught:
        check(X, X)
    assert str(caught.value) == "`f` must be callable, got ndarray."


def test_integers_have_no_derivative():
    report = check(lambda n: n * 1.0, 3)
    assert not report.ok
    assert "must be floating-point, got int64" in report.findings[0].text


def test_backend_objects():
    objects = [dif.FiniteDifferences("central4"), dif.SecondOrder("numpy", "autograd"), "autograd"]
    report = check(rosenbrock, X, backends=objects)
    assert report.ok, report
    assert {row.backend for row in report.rows} == {
        "differences",
        "autograd",
        *map(repr, objects[:2]),
    }


@pytest.mark.slow
def test_nothing_is_left_changed():
    x = X.copy()
    before = (jax.config.jax_enable_x64, torch.get_default_dtype(), np.geterr())
    check(rosenbrock, x)
    assert (jax.config.jax_enable_x64, torch.get_default_dtype(), np.geterr()) == before
    assert x.tobytes() == X.tobytes()


def test_every_kind_of_finding_is_documented():
    page = (ROOT / "docs" / "how-to" / "checking.md").read_text()
    documented = {
        kind for line in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
        for kind in re.findall(r"`([^`]+)`", line)
    }  # fmt: skip
    assert documented == set(re.findall(r'``"([^"]+)"``', Finding.__doc__))
    code = "".join(
        path.read_text() for path in Path(sys.modules[Finding.__module__].__file__).parent.iterdir()
        if path.suffix == ".py"
    )  # fmt: skip
    assert set(re.findall(r'Finding\(\s*"([^"]+)"', code)) <= documented


@pytest.mark.parametrize("where", ["always", "in jax"])
def test_a_function_that_ends_the_program_fails(where):
    def ends(x):
        if where == "always" or "jax" in type(x).__module__:
            raise SystemExit(0)
        return dif.namespace(x).sum(x**2)

    report = check(ends, np.array([1.0, 2.0]), backends=["jax", "autograd"])
    assert not report.ok
    assert {row.backend for row in report.rows if row.problem.startswith("SystemExit: 0, at ")} >= {
        "jax"
    }
