"""``python -m diffface bench``: what it measures, writes, and says about wrong usage."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from diffface.cli import bench as _bench
from diffface.cli import main
from diffface.cli import usage as _usage
from diffface.testing import Benchmark

QUICK = ["--rounds", "1", "--backends", "autograd", "--wide"]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's, in the current directory."""
    text = (
        "import numpy as np\n"
        "import diffface as dif\n"
        "def loss(x, data):\n"
        "    return dif.namespace(x).sum((x - data) ** 2)\n"
        "def make():\n"
        "    return np.ones(3), dif.Const(np.zeros(3))\n"
        "def make_of(n):\n"
        "    return np.ones(n), dif.Const(np.zeros(n))\n"
        "def square(x):\n"
        "    return x * x\n"
        "POINT = np.ones(2)\n"
        "def broken(x):\n"
        "    raise RuntimeError('no such thing')\n"
    )
    (tmp_path / "users_module.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "users_module", raising=False)
    return "users_module"


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The words of the table's body."""
    return [line.split() for line in capsys.readouterr().out.splitlines()[2:]]


def test_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "lse", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out
    assert err == ""
    head, _, row, *_ = out.splitlines()
    assert head.split()[0] == "problem"
    assert row.split()[:5] == ["lse", "10", "gradient", "autograd", "program"]


def test_sizes_and_operators(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "kmeans", "--sizes", "20x2x3,30x2x3", "--operators", "gradient,hvp"]
    main([*command, *QUICK])
    found = [row[:3] for row in lines(capsys) if row[0] == "kmeans"]
    wanted = [("20x2x3", "gradient"), ("20x2x3", "hvp"), ("30x2x3", "gradient"), ("30x2x3", "hvp")]
    assert [tuple(row[1:]) for row in found if "," not in row[1]] == wanted


@pytest.mark.slow
def test_backends_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    backends = "autograd, FiniteDifferences(scheme='forward', step=1e-7),SecondOrder('numpy','jax')"
    assert main(["bench", "lse", "--rounds", "1", "--backends", backends]) == 0
    out = capsys.readouterr().out
    assert "FiniteDifferences(scheme='forward', step=1e-07" in out
    assert "SecondOrder(outer='numpy', inner='jax')" in out


def test_a_function_of_the_users(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"{module}:loss", "--args", f"{module}:make", *QUICK]) == 0
    assert lines(capsys)[0][:3] == ["loss", "3", "gradient"]
    assert main(["bench", f"{module}:square", "--args", f"{module}:POINT", *QUICK]) == 0
    assert lines(capsys)[0][:3] == ["square", "2", "jacobian"]


def test_sizes_of_a_function_of_the_users(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", f"{module}:loss", "--args", f"{module}:make_of", "--sizes", "2,5"]
    assert main([*command, "--operators", "gradient", *QUICK]) == 0
    assert [row[1] for row in lines(capsys) if row[0] == "loss"] == ["2", "5"]


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    names = {name: str(tmp_path / f"found.{name}") for name in ("json", "csv", "markdown")}
    names["plot"] = str(tmp_path / "found.png")
    options = [word for name, path in names.items() for word in (f"--{name}", path)]
    assert main(["bench", "lse", *QUICK, *options]) == 0
    report = Benchmark.from_json(Path(names["json"]).read_text())
    assert report.csv() == Path(names["csv"]).read_text()
    assert report.markdown() == Path(names["markdown"]).read_text()
    assert Path(names["plot"]).read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path(names["json"]).read_text())["rows"][0]["problem"] == "lse"
    assert ",autograd," in Path(names["csv"]).read_text()
    capsys.readouterr()


def test_a_failure_is_shown_and_is_the_exit_code(
    module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--args", f"{module}:POINT", "--operators", "gradient"]
    assert main(["bench", f"{module}:broken", *arguments, *QUICK]) == 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "RuntimeError: no such thing" in out


def test_all_problems_are_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def measured(problem: Any, *_: Any, sizes: Any, **options: Any) -> Benchmark:
        asked.append((problem.name, sizes))
        return Benchmark((), {})

    monkeypatch.setattr(_bench, "benchmark", measured)
    assert main(["bench", "all"]) == 0
    assert asked == [(p.name, [p.sizes[0]]) for p in _bench.PROBLEMS]


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What was measured by then is shown, and no traceback."""
    measure, done = _bench.benchmark, []

    def interrupted(*args: Any, **options: Any) -> Benchmark:
        if done:
            raise KeyboardInterrupt
        done.append(True)
        return measure(*args, **options)

    monkeypatch.setattr(_bench, "benchmark", interrupted)
    assert main(["bench", "lse", "--sizes", "3,4", *QUICK]) == 130
    out, err = capsys.readouterr()
    assert [line.split()[1] for line in out.splitlines()[2:] if "program" in line] == ["3"] * 2
    assert err == "diffface: interrupted\n"


def test_progress_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    main(["bench", "lse", *QUICK])
    out, err = capsys.readouterr()
    assert "preparing autograd" in err
    assert "\x1b[2K" in err  # and the line is cleared
    assert "preparing" not in out


def test_without_rich_progress_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(_usage.importlib.util, "find_spec", lambda name: None)
    with _usage.progress(3) as say:
        say("one")
        say("two")
    err = capsys.readouterr().err
    assert err == "\r\x1b[K0/3 one\r\x1b[K1/3 two\r\x1b[K"


def test_it_fits_eighty_columns(module: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Several operators, and only what is most important."""
    brief = [word for word in QUICK if word != "--wide"]
    main(["bench", "lse", *brief])
    main(["bench", f"{module}:square", "--args", f"{module}:POINT", *brief])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    found = [line.split()[0] for line in out.splitlines() if line.split()[1:2] == ["autograd"]]
    assert found == ["gradient", "hvp", "jacobian", "pushforward", "pullback"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rosenbrok"], "there is no problem 'rosenbrok'. Did you mean 'rosenbrock'?"),
        (["lse", "--sizes", "3x4"],
         "--sizes of lse are n, such as 10; got '3x4'."),
        (["gmm", "--sizes", "0x2x3"],
         "--sizes of gmm are n points, d dimensions, k components, such as 20x2x3; got '0x2x3'."),
        (["lse", "--sizes", "many"],
         "--sizes of lse are n, such as 10; got 'many'."),
        (["lse", "--operators", "gradiant"],
         "there is no operator 'gradiant'. Did you mean 'gradient'?"),
        (["lse", "--backends", "jaxx"], "There is no backend 'jaxx'."),
        (["lse", "--backends", "Troch(compile=True)"],
         "there is no backend 'Troch'. Did you mean 'Torch'?"),
        (["lse", "--backends", "Torch(compile=yes)"],
         "expected a backend such as jax or Torch(compile=True), got 'Torch(compile=yes)'."),
        (["lse", "--backends", "Torch(speed=1)"], "Torch(speed=1): "),
        (["lse", "--backends", ","], "expected backends separated by commas, got ','."),
        (["lse", "--args", "a:b"], "--args are for module:function; a problem brings its own."),
        (["users_module:loss", "--args", "users_module:POINT", "--sizes", "3"],
         "--sizes need a function that takes them; users_module:POINT is not callable."),
        (["users_module:loss", "--args", "users_module:make", "--sizes", "3"],
         "users_module:make cannot be called: TypeError: make() takes 0 positional arguments"),
        (["lse", "--plot", "x.jpegs"], "--plot must end in one of .eps, "),
        (["users_module:loss"],
         "a function needs --args, such as --args mymodule:make_args."),
        (["users_module:los", "--args", "users_module:make"],
         "module 'users_module' has no attribute 'los'. Did you mean 'loss'?"),
        (["lse", "--rounds", "0"], "--rounds must be 1 or more, got 0."),
        (["lse", "--json", "nowhere/x.json"], "--json: there is no folder 'nowhere'."),
    ],
)  # fmt: skip
def test_wrong_usage(
    words: list[str], message: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"diffface: {message}")
    assert err.count("\n") == 1


def test_plot_without_matplotlib(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "lse", "--plot", "x.png"]) == 2
    wanted = "diffface: --plot needs matplotlib; run: pip install 'diffface[bench]'.\n"
    assert capsys.readouterr().err == wanted
