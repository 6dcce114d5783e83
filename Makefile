# Both commands need Python 3.11 or later and nothing else; the first of them makes .venv.

PYTHON ?= python3
BIN := .venv/bin
# What was installed: for users, for tests, for the documentation.
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
INSTALLED_DOCS := .venv/.installed-docs
INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check \
	--constraint constraints.txt --config-settings editable_mode=compat --editable
PYTEST := $(BIN)/python -m pytest --quiet --numprocesses=auto --maxprocesses=4

.PHONY: help demo test test-slow test-all lint types format coverage docs docs-test results tables clean
.SILENT:

help:
	echo "make demo      fit two published problems with every backend's Jacobian"
	echo "make test      run a part of the tests, in a few minutes"
	echo "make test-slow run the others but the exhaustive ones"
	echo "make test-all  run the whole test suite"
	echo "make lint      check style"
	echo "make types     check types"
	echo "make format    mend style"
	echo "make coverage  run the tests and show the lines they miss"
	echo "make docs      build the documentation site, build/docs/html"
	echo "make docs-test open it in Chromium and look for faults"
	echo "make results   measure docs/reference/results.md anew; a quiet machine and half an hour"
	echo "make tables    write the tables of the documents anew, from the code"
	echo "make clean     remove .venv and everything else that was made"

demo: $(INSTALLED)
	$(BIN)/python docs/examples/nist.py

test: $(INSTALLED_DEV)
	$(PYTEST) -m "not slow and not more and not site"

test-slow: $(INSTALLED_DEV)
	$(PYTEST) -m "(slow or more) and not exhaustive and not site"

test-all: $(INSTALLED_DEV)
	XLA_FLAGS= $(PYTEST) -m "not site"

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check

types: $(INSTALLED_DEV)
	$(BIN)/mypy --package diffface

format: $(INSTALLED_DEV)
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

coverage: $(INSTALLED_DEV)
	$(PYTEST) -m "not site" --cov --cov-report=term

docs: $(INSTALLED_DOCS)
	$(BIN)/python scripts/build_docs.py

docs-test: docs
	$(BIN)/python -m pytest --quiet -m site tests/docs/test_site.py

results: $(INSTALLED_DEV)
	$(INSTALL) '.[results]'
	$(BIN)/python -m benchmarks.results

tables: $(INSTALLED_DEV)
	$(BIN)/python scripts/tables.py

clean:
	rm -rf .venv build dist *.egg-info .coverage .hypothesis .jax_cache .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "diffface needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	echo "Installing diffface, JAX, PyTorch, autograd and SciPy into .venv (only this once, in some minutes)"
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[all]'
	touch $(INSTALLED)

$(INSTALLED_DEV): $(INSTALLED)
	echo "Installing what the tests need (only this once, in some minutes)"
	$(INSTALL) '.[all,dev]'
	touch $(INSTALLED_DEV)

$(INSTALLED_DOCS): $(INSTALLED_DEV)
	echo "Installing Sphinx (only this once)"
	$(INSTALL) '.[docs]'
	touch $(INSTALLED_DOCS)
