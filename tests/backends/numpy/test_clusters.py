"""Stencils over the processes of ray and of MPI, which do not come with `make`.

Ray takes 260 MB, and MPI is no Python package. `.ci/run` installs both where they can be had.
"""

import shutil
import subprocess
import sys
from textwrap import dedent

import pytest

SCRIPT = """
    import os

    import numpy as np

    import diffface as dif
    from {module} import {pool}

    def simulation(x, a):
        return float(np.sum(a * x**4))

    def process(_):
        return os.getpid()

    if __name__ == "__main__":
        x, a = np.linspace(0.1, 1.0, 10), dif.Const(2.0)
        with {pool}(2) as pool:
            backend = dif.FiniteDifferences(workers=pool)
            found = dif.gradient(simulation, x, a, backend=backend)
            prepared = dif.prepare_hessian(lambda x: simulation(x, 3.0), x, backend=backend)
            hessian = prepared(x)
            elsewhere = set(pool.map(process, range(4)))
        np.testing.assert_array_equal(found, dif.gradient(simulation, x, a, backend="numpy"))
        np.testing.assert_allclose(found, 8 * x**3, rtol=1e-7)
        np.testing.assert_allclose(hessian, np.diag(36 * x**2), rtol=1e-4, atol=1e-4)
        print(os.getpid() not in elsewhere)
"""


def run(tmp_path, module, pool, *command):
    """Of the script, with this pool: whether its workers were other processes."""
    script = tmp_path / "script.py"
    script.write_text(dedent(SCRIPT.format(module=module, pool=pool)))
    done = subprocess.run(
        [*command, script], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_ray(tmp_path):
    pytest.importorskip("ray")
    assert run(tmp_path, "ray.util.multiprocessing", "Pool", sys.executable) == "True"


@pytest.mark.slow
def test_mpi(tmp_path):
    """Three processes that are started together: one runs the script, the others work for it."""
    pytest.importorskip("mpi4py")
    mpiexec = shutil.which("mpiexec", path=f"{sys.prefix}/bin") or "mpiexec"
    command = (mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures")
    assert run(tmp_path, "mpi4py.futures", "MPIPoolExecutor", *command) == "True"
