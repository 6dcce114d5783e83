"""Fixtures that several files of tests share."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pytest
from helpers import ROOT

from diffface.backends import registry as _registry

# Most of the time of tests with JAX goes into compiling, and many compile the same. JAX reads these
# when it is imported, in processes of the tests' own, too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Half of the rest goes into good machine code for programs that run once. What XLA does to programs
# before is the same with these flags, which are those of one version. Where they are set already,
# be it to nothing, they stay: for the wheel, for other instructions, and in `make test-all`.
with suppress(PackageNotFoundError):
    if f"jaxlib=={version('jaxlib')}" in (ROOT / "constraints.txt").read_text().split():
        os.environ.setdefault(
            "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
        )


def pytest_report_teststatus(report):
    """No dots in a log, where nobody watches them: what went as expected is only counted."""
    if sys.stdout.isatty() or report.when != "call":
        return None
    if report.skipped and hasattr(report, "wasxfail"):
        return "xfailed", "", ""
    return ("passed", "", "") if report.passed and not hasattr(report, "wasxfail") else None


# Tests start many processes, each of which would compile diffface's source and theirs anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Of a test with more cases than `MANY`, `make test` runs one in so many, `make test-slow` as many
# others (of documents, all others), and `make test-all` all. Of one with more than `SEVERAL`, the
# first runs half and the second the other half. They are always the same.
SEVERAL, MANY, ONE_IN = 12, 24, 8
DOCUMENTS = ROOT / "tests" / "docs"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark with `more` and `exhaustive` the cases that the quicker runs leave to the others."""
    function = lambda item: item.nodeid.partition("[")[0]
    counts = Counter(map(function, items))
    for item in items:
        count = counts[function(item)]
        if count <= SEVERAL:
            continue
        draw = crc32(item.nodeid.encode()) % (ONE_IN if count > MANY else 2)
        if draw:
            item.add_marker(pytest.mark.more)
        if draw > 1 and not item.path.is_relative_to(DOCUMENTS):
            item.add_marker(pytest.mark.exhaustive)


class Distribution(NamedTuple):
    """The two files that users download."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="session")
def distribution(tmp_path_factory):
    """The sdist of the checkout, and the wheel built from that sdist, as users get them."""
    # A copy: what earlier builds left behind gets into wheels, and tests run at the same time.
    source = tmp_path_factory.mktemp("distribution") / "source"
    litter = shutil.ignore_patterns(
        ".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist"
    )
    shutil.copytree(ROOT, source, ignore=litter)
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist"],
        cwd=source, check=True, capture_output=True,
    )  # fmt: skip
    sdist, wheel = sorted((source / "dist").iterdir(), key=lambda path: path.suffix)
    return Distribution(sdist, wheel)


@pytest.fixture(autouse=True, scope="module")
def only_own_backends(request):
    """A backend that a file of tests registers when it is imported is for that file alone."""
    with pytest.MonkeyPatch.context() as patch:
        if request.path.name != "test_third_party.py":
            patch.setattr(_registry, "_registered", {})
        yield
