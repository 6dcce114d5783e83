"""Prepared callables under load: many threads, and interrupts at random moments.

    python -m benchmarks.load --calls 100000 --interrupts 200

Eight threads call the same prepared callables with arguments that change: no result may be wrong,
and memory must not grow; how far it is, is printed. Then preparations are interrupted: what was
prepared before goes on, what is prepared after is right, and no framework's settings have changed.
It fails by an exit status.
"""

import argparse
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

import diffface as dif

BACKENDS = ("numpy", "complex-step", "autograd", "jax", "torch")
THREADS = 8
# Of the memory of the process, in MiB: what allocators keep in reserve.
GROWTH = 32


def wave(x, a):
    xp = dif.namespace(x)
    return xp.sum(a * xp.sin(x) * x)


def slope(x, a):
    return a * (np.cos(x) * x + np.sin(x))


def curvature(x, a):
    return a * (2 * np.cos(x) - np.sin(x) * x)


def memory():
    """Of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def threads(backend, calls):
    """Wrong results of so many calls in each of eight threads, and what memory has grown by.

    A tenth of them comes first, after which memory counts.
    """
    x = np.linspace(0.1, 1.0, 6)
    gradient = dif.prepare_gradient(wave, x, dif.Const(1.0), backend=backend)
    lazy = dif.prepare_hvp(wave, backend=backend, argnums=0)
    tolerance = 1e-3 if backend == "numpy" else 1e-7

    def work(number, calls):
        wrong, draws = 0, np.random.default_rng(number)
        for i in range(calls):
            a, x = float(draws.normal()), draws.normal(size=6)
            wrong += not np.allclose(gradient(x, a), slope(x, a), rtol=tolerance, atol=tolerance)
            if i % 8 == 0:
                x = draws.normal(size=2 + i // 8 % 3)
                found = lazy(x, a, tangents=np.ones_like(x))
                wrong += not np.allclose(found, curvature(x, a), rtol=tolerance, atol=tolerance)
        return wrong

    wrong, start = 0, time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for part in range(11):
            numbers = range(part * THREADS, (part + 1) * THREADS)
            wrong += sum(pool.map(work, numbers, [max(calls // 10, 64)] * THREADS))
            if part == 0:
                before = memory()
            seconds, more = time.perf_counter() - start, memory() - before
            done = f"{part}0 %, {seconds:.0f} s, {wrong} wrong, {more:+.1f} MiB"
            print(f"  {backend}: {done}", flush=True)
    return wrong, memory() - before


def settings():
    """What a preparation sets for its time, in the frameworks."""
    import jax
    import torch

    return (
        jax.config.jax_enable_x64, torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
        torch.get_default_dtype(), torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(), torch.autograd.forward_ad._current_level,
        torch._C._functorch.peek_interpreter_stack(), torch.backends.cuda.flash_sdp_enabled(),
        torch._C._is_multithreading_enabled(),
    )  # fmt: skip


def attempt(backend, k):
    """Prepare a function that was never met before, and call it; the largest error."""
    x = np.linspace(0.1, 1.0, 5)
    f = lambda x, a: wave(x, a) + k * dif.namespace(x).sum(x**3)
    prepared = dif.prepare_hvp(f, x, dif.Const(2.0), backend=backend)
    found = prepared(x, 2.0, tangents=x)
    return float(np.max(np.abs(found - (curvature(x, 2.0) + 6 * k * x) * x)))


def interrupted(call, seconds):
    """Whether an interrupt after so many seconds came while it ran."""
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    return False


def interrupts(backend, times):
    """What went wrong after each of so many interrupts."""
    attempt(backend, 0.5)
    start = time.perf_counter()
    attempt(backend, 0.5)
    usual = time.perf_counter() - start
    draws, before, wrong = np.random.default_rng(0), settings(), []
    lazy = dif.prepare_hvp(wave, backend=backend, argnums=0)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    hits = 0
    for i in range(times):
        x = np.linspace(0.1, 1.0, 3 + i % 20)
        first = partial(attempt, backend, 0.1 * (i % 7))
        call = first if i % 2 else partial(lazy, x, 2.0, tangents=x)
        hits += interrupted(call, usual * draws.random() + 1e-6)
        if settings() != before:
            wrong.append(f"settings are {settings()} after {i}")
        if i % 10 == 9:
            error = max(
                attempt(backend, 0.3),
                np.max(np.abs(lazy(x, 2.0, tangents=x) - curvature(x, 2.0) * x)),
            )
            if error > 1e-3:
                wrong.append(f"an error of {error} after {i}")
    # No lock is held: another thread goes on.
    other = threading.Thread(target=attempt, args=(backend, 0.7), daemon=True)
    other.start()
    other.join(60)
    if other.is_alive():
        wrong.append("another thread waits for ever")
    return hits, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backends", nargs="*", default=BACKENDS)
    parser.add_argument("--calls", type=int, default=1000, help="in each thread")
    parser.add_argument("--interrupts", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore", dif.PreparationWarning)
    failed = False
    for backend in options.backends:
        count, growth = threads(backend, options.calls)
        hits, wrong = interrupts(backend, options.interrupts)
        print(
            f"{backend}: {count} wrong of {THREADS} x {options.calls} calls, {growth:.1f} MiB more;"
            f" {hits} interrupts, {'; '.join(wrong) or 'nothing broken'}",
            flush=True,
        )
        failed |= bool(count or wrong) or growth > GROWTH
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
