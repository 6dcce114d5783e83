"""Derivatives on a GPU: whether they are those of the processor, and how long they take.

    python -m benchmarks.gpu [file] [--device cpu]

For PyTorch and JAX, each where it finds a CUDA device: the smoke part of the conformance suite on
arrays that are there; every operator of a Gaussian mixture, and a training step of a transformer
block (PyTorch), prepared and not, beside the processor's results and the framework's own gradient.
What it prints is also written to the file, by default ``benchmarks/gpu.txt``; without a device that
says so. With ``--device cpu`` all of it runs on the processor at small sizes, to try the script.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

import diffface as dif
from benchmarks.models import block
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.numpy_arrays import NUMPY
from diffface.backends.registry import resolve
from diffface.benchmark.problems import GMM
from diffface.testing import scenarios
from diffface.testing.case import cases, known_limits, operator_of
from diffface.testing.protocol import run
from diffface.testing.suite import run_many

# Points, dimensions, components.
SMALL, LARGE = (200, 2, 3), (10_000, 32, 25)
OPERATORS = ("gradient", "value_and_gradient", "hvp", "hessian", "pushforward", "pullback")

# Of the conformance suite, and how prepared calls must run.
QUICK = ("number to number", "vector to number", "everything")
BUILT = ("xla", "replay")

Line = tuple[bool, str]


def main() -> None:
    """Print what was found, and write it down; fail where a result is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default=Path(__file__).with_name("gpu.txt"), type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args()
    failed, text = False, ""
    for right, line in report(options.device):
        print(said := f"{'' if right else 'WRONG '}{line}", flush=True)
        text += f"{said}\n"
        failed |= not right
    options.file.write_text(text)
    raise SystemExit(failed)


def report(where: str) -> Iterator[Line]:
    """What is right and wrong on ``"cuda"`` or ``"cpu"``, as it is found."""
    head = f"Python {platform.python_version()}, torch {torch.__version__}, jax {jax.__version__}"
    yield True, head
    for name, backend in (("torch", on_torch), ("jax", on_jax)):
        found = backend(where)
        if found is None:
            yield True, f"{name}: there is no CUDA device here, so that it has not run."
            continue
        device, place, wait = found
        yield True, f"{name}: {device}"
        yield from smoke(name, place)
        yield from conforms(name, place)
        yield from timed(name, place, wait, SMALL if where == "cpu" else LARGE)


Place = Callable[[Any], Any]
Found = tuple[str, Place, Callable[[], None]] | None


def on_torch(device: str) -> Found:
    """The device, how an array comes there, and how to wait for it."""
    place = lambda array: torch.as_tensor(array, dtype=torch.float32, device=device)
    if device == "cpu":
        return "processor", place, lambda: None
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(), place, torch.cuda.synchronize


def on_jax(device: str) -> Found:
    """Likewise; JAX's calls are waited for by their results."""
    try:
        there = jax.devices("cpu" if device == "cpu" else "gpu")[0]
    except RuntimeError:
        return None
    place = lambda array: jax.device_put(np.asarray(array, np.float32), there)
    return there.device_kind, place, lambda: None


class Placed:
    """The arrays of a library, on the device where ``place`` brings them: a kind for cases."""

    def __init__(self, library: ArrayLibrary, place: Place) -> None:
        self.name = library.name
        self._library = library
        self._device = library.describe(place(np.zeros(1)))[2]

    def from_numpy(self, array: Any, device: object) -> Any:
        return self._library.from_numpy(array, self._device)


def smoke(name: str, place: Place) -> Iterator[Line]:
    """The scenarios that conformance's smoke tests take, in every way, on arrays of the device."""
    library = resolve(name).first_order().arrays
    placed: Any = Placed(library, place)
    limits, wrong, count = known_limits(name), [], 0
    for scenario in scenarios():
        if scenario.name not in QUICK:
            continue
        for case in cases(scenario, (NUMPY, placed)):
            operator = operator_of(case.function)
            if case.kind is NUMPY or any(x.covers(scenario.name, operator) for x in limits):
                continue
            count += 1
            try:
                (run_many if case.many else run)(case, name, BUILT)
            except Exception as error:  # noqa: BLE001 - each is reported
                wrong.append(f"    {case}: {str(error).splitlines()[0]}")
    yield not wrong, f"  conformance: {count} cases, {len(wrong)} wrong"
    yield from ((False, line) for line in wrong)


def moved(args: Any, place: Place) -> list[Any]:
    """Arguments with their arrays on a device, and a ``Const`` around what had one."""

    def one(value: Any) -> Any:
        if isinstance(value, dif.Const):
            return dif.Const(one(value.value))
        return place(value) if isinstance(value, np.ndarray | float) else value

    return [one(value) for value in args]


def plain(args: Any) -> list[Any]:
    """Arguments without their ``Const``."""
    return [a.value if isinstance(a, dif.Const) else a for a in args]


def conforms(name: str, place: Place) -> Iterator[Line]:
    """Every operator at a small size, beside autograd on the processor in float64."""
    args = GMM.make_args(SMALL, 0)
    here = moved(args, place)
    active = [a for a in args if not isinstance(a, dif.Const)]
    for operator in OPERATORS:
        there: dict[str, Any] = {}
        seeds: dict[str, Any] = {}
        if operator in ("hvp", "pushforward"):
            seeds = {"tangents": tuple(np.ones_like(a) for a in active)}
            there = {"tangents": tuple(place(np.ones_like(a)) for a in active)}
        elif operator == "pullback":
            seeds, there = {"cotangents": 1.0}, {"cotangents": place(1.0)}
        expected = getattr(dif, operator)(GMM.f, *args, backend="autograd", **seeds)
        prepared = getattr(dif, f"prepare_{operator}")(GMM.f, *here, backend=name)
        eager = getattr(dif, operator)(GMM.f, *here, backend=name, **there)
        errors = [distance(found, expected) for found in (eager, prepared(*plain(here), **there))]
        right = max(errors) < 1e-3
        yield right, f"  {operator}, {prepared.strategy}: {max(errors):.0e} from the processor's"


def distance(found: Any, expected: Any) -> float:
    """Largest difference of two trees of arrays, by the largest number in them."""
    pairs = zip(arrays(found), arrays(expected), strict=True)
    return max(float(np.max(np.abs(a - b)) / (1 + np.max(np.abs(b)))) for a, b in pairs)


def arrays(tree: Any) -> list[Any]:
    """Leaves as arrays of NumPy."""
    if isinstance(tree, dict):
        return [a for value in tree.values() for a in arrays(value)]
    if isinstance(tree, tuple | list):
        return [a for value in tree for a in arrays(value)]
    return [np.asarray(tree.detach().cpu() if isinstance(tree, torch.Tensor) else tree)]


def timed(
    name: str, place: Place, wait: Callable[[], None], size: tuple[int, int, int]
) -> Iterator[Line]:
    """Milliseconds of a gradient and a training step, and of the framework's own."""
    args = moved(GMM.make_args(size, 0), place)
    values = plain(args)
    active = tuple(i for i, a in enumerate(args) if not isinstance(a, dif.Const))
    ours = dif.prepare_gradient(GMM.f, *args, backend=name)
    if name == "jax":
        theirs: Any = jax.jit(jax.grad(GMM.f, active), static_argnums=(len(args) - 1,))
    else:
        theirs = torch.func.grad(GMM.f, active)
    yield True, _times("GMM gradient", lambda: ours(*values), lambda: theirs(*values), wait)
    if name == "torch":
        f, model, x = block()
        device = place(np.zeros(1)).device
        model, x = model.to(device), x.to(device)
        step = dif.prepare_value_and_gradient(f, model, dif.Const(x))

        def by_backward() -> None:
            model.zero_grad()
            f(model, x).backward()

        yield True, _times("transformer block", lambda: step(model, x), by_backward, wait)


def _times(
    what: str, ours: Callable[[], Any], theirs: Callable[[], Any], wait: Callable[[], None]
) -> str:
    taken: dict[Any, list[float]] = {ours: [], theirs: []}
    for _ in range(30):
        for call, times in taken.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            wait()
            times.append(time.perf_counter() - start)
    mine, other = (1e3 * statistics.median(times[5:]) for times in taken.values())
    return f"  {what}: {mine:.3f} ms, {mine / other:.2f} of the framework's own"


if __name__ == "__main__":
    main()
