"""``python -m diffface doctor``: whether what is installed here works, and what to do if not."""

import argparse
import os
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import requires
from typing import Any

import numpy as np

import diffface
from diffface.backends.registry import BackendInfo, list_backends
from diffface.cli.usage import progress, show
from diffface.testing.text_table import Table

# What was looked at, its state, its version, those that are supported, and what to do.
Row = tuple[str, str, str, str, str]
COMPILERS = ("g++", "clang++", "c++")


def add(subparsers: Any) -> None:
    """Describe the subcommand."""
    parser = subparsers.add_parser(
        "doctor",
        help="whether what is installed works",
        description="Differentiate a small function with every backend, compare versions with\n"
        "what is supported, look for a compiler, and multiply matrices whose product is known.",
        epilog="The exit code is 0 if all that is installed works, and 1 if not.",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one line for each thing that was looked at."""
    infos = list_backends()
    rows = []
    with progress(len(infos) + 2) as say:
        for info in infos:
            say(info.name)
            rows.append(_backend(info))
        say("the compiler and linear algebra")
        rows += [_compiler(), _linear_algebra()]
    bad = frozenset(i for i, row in enumerate(rows) if row[1] == "BROKEN")
    show(Table(("what", "state", "version", "supported", "what to do"), rows, marked=bad))
    return 1 if bad else 0


def _backend(info: BackendInfo) -> Row:
    if info.backend is None:
        found = re.search(r"pip install \S+ ?'?[^'\s]*'?", info.problem)
        return info.name, "not installed", "", "", found[0].rstrip(";.") if found else info.problem
    least = dict(_least_versions()).get(info.backend.first_order().library, "")
    supported = f"{least} or later" if least else ""
    broken = info.name, "BROKEN", info.version, supported
    x = np.array([1.0, -2.0])
    try:
        with np.errstate(all="ignore"):
            once = diffface.gradient(_cubes, x, backend=info.backend)
            again = diffface.prepare_gradient(_cubes, x, backend=info.backend)(x)
    except Exception as error:  # noqa: BLE001 - a broken library may raise anything
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        return *broken, f"install it anew ({what})"
    if not all(np.allclose(found, 3 * x**2, rtol=1e-4) for found in (once, again)):
        return *broken, "wrong gradient of sum(x**3): install it anew"
    if least and _numbers(info.version) < _numbers(least):
        return *broken, "too old: pip install --upgrade it"
    return info.name, "works", info.version, supported, ""


def _cubes(x: Any) -> Any:
    return diffface.namespace(x).sum(x**3)


def _least_versions() -> Iterator[tuple[str, str]]:
    """By library, the oldest version that diffface's own requirements allow."""
    for line in requires("diffface") or ():
        if found := re.match(r"([\w-]+)>=([\d.]+)", line):
            yield found[1], found[2]


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version.partition("+")[0])][:3]


def _compiler() -> Row:
    asked = (os.environ.get("CXX", ""), *COMPILERS)
    found = next(filter(None, map(shutil.which, filter(None, asked))), "")
    if found:
        return "C++ compiler", "found", found, "", ""
    return "C++ compiler", "not found", "", "", "install g++, if you want Torch(compile=True)"


def _linear_algebra() -> Row:
    """Products of whole numbers, which floating point knows exactly, whatever the order of sums."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-99, 99, (2, 200, 200))
    right = all(np.array_equal(a.astype(t) @ b.astype(t), a @ b) for t in (np.float64, np.float32))
    state = ("works", "") if right else ("BROKEN", "set OPENBLAS_CORETYPE, or install NumPy anew")
    return "linear algebra", state[0], _blas(), "", state[1]


def _blas() -> str:
    """The library that NumPy multiplies matrices by."""
    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"
