"""A slow black box, evaluated by the processes of a dask cluster.

The points of a stencil are handed to ``client.get_executor()``. One of the workers is killed while
a gradient is computed: dask gives its points to the other, and the gradient is right all the same.

Needs: pip install 'diffface[sparse]' distributed
"""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dask.distributed import Client, LocalCluster

import diffface as dif


def simulation(x, target):
    """A black box that takes 50 ms."""
    time.sleep(0.05)
    return float(np.sum((x - target) ** 4))


target = np.linspace(-1.0, 1.0, 10)
x = np.zeros(10)
exact = 4 * (x - target) ** 3


def gradient(workers):
    """By central differences inside the bounds, and how long it took."""
    backend = dif.FiniteDifferences("central", bounds=(-2.0, 2.0), workers=workers)
    start = time.perf_counter()
    found = dif.gradient(simulation, x, dif.Const(target), backend=backend)
    return found, time.perf_counter() - start


def main():
    """The gradient alone, by two workers, and by two of which one dies."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        client = Client(cluster)
        alone, seconds = gradient(None)
        print(f"one process:  {seconds:.2f} s, error {np.max(np.abs(alone - exact)):.0e}")
        gradient(client.get_executor())  # the workers import what they need
        by_two, seconds = gradient(client.get_executor())
        print(f"two workers:  {seconds:.2f} s, error {np.max(np.abs(by_two - exact)):.0e}")
        victim = next(iter(client.run(os.getpid).values()))
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(gradient, client.get_executor())
            time.sleep(0.2)
            os.kill(victim, signal.SIGKILL)
            survived, seconds = pending.result()
        print(f"one is killed: {seconds:.2f} s, error {np.max(np.abs(survived - exact)):.0e}")
        client.close()
    return alone, by_two, survived


if __name__ == "__main__":
    alone, by_two, survived = main()
