"""Derivatives on a GPU: whether they are those of the processor, and how long they take.

    python -m benchmarks.gpu [file]

For PyTorch and JAX, each where it finds a CUDA device: every operator of a Gaussian mixture, and a
training step of a transformer block (PyTorch), prepared and not, beside the processor's results
and the framework's own gradient. What it prints is also written to the file, by default
``benchmarks/gpu.txt``; without a device that says so.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

import diffface as dif
from benchmarks.models import block
from diffface.benchmark.problems import GMM

# Points, dimensions, components.
SMALL, LARGE = (200, 2, 3), (10_000, 32, 25)
OPERATORS = ("gradient", "value_and_gradient", "hvp", "hessian", "pushforward", "pullback")

Line = tuple[bool, str]


def main() -> None:
    """Print what was found, and write it down; fail where a result is wrong."""
    target = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_name("gpu.txt")
    head = f"Python {platform.python_version()}, torch {torch.__version__}, jax {jax.__version__}"
    lines: list[Line] = [(True, head)]
    for name, backend in (("torch", on_torch), ("jax", on_jax)):
        found = backend()
        if found is None:
            lines.append((True, f"{name}: there is no CUDA device here, so that it has not run."))
            continue
        device, place, wait = found
        lines.append((True, f"{name}: {device}"))
        lines += [*conforms(name, place), *timed(name, place, wait)]
    text = "".join(f"{'' if right else 'WRONG '}{line}\n" for right, line in lines)
    print(text, end="")
    target.write_text(text)
    raise SystemExit(not all(right for right, _ in lines))


Place = Callable[[Any], Any]
Found = tuple[str, Place, Callable[[], None]] | None


def on_torch() -> Found:
    """The device, how an array comes there, and how to wait for it."""
    if not torch.cuda.is_available():
        return None
    place = lambda array: torch.as_tensor(array, dtype=torch.float32, device="cuda")
    return torch.cuda.get_device_name(), place, torch.cuda.synchronize


def on_jax() -> Found:
    """Likewise; JAX's calls are waited for by their results."""
    try:
        device = jax.devices("gpu")[0]
    except RuntimeError:
        return None
    place = lambda array: jax.device_put(np.asarray(array, np.float32), device)
    return device.device_kind, place, lambda: None


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


def timed(name: str, place: Place, wait: Callable[[], None]) -> Iterator[Line]:
    """Milliseconds of a large gradient and a training step, and of the framework's own."""
    args = moved(GMM.make_args(LARGE, 0), place)
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
        model, x = model.cuda(), x.cuda()
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
