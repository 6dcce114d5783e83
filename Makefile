# Both commands need Python 3.11 or later and nothing else; the first of them makes .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLED_DOCS := .venv/.installed-docs
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

test: $(INSTALLED)
	$(PYTEST) -m "not slow and not more and not site"

test-slow: $(INSTALLED)
	$(PYTEST) -m "(slow or more) and not exhaustive and not site"

test-all: $(INSTALLED)
	$(PYTEST) -m "not site"

lint: $(INSTALLED)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check

types: $(INSTALLED)
	$(BIN)/mypy --package diffface

format: $(INSTALLED)
	$(BIN)/ruff check --quiet --fix
	$(BIN)/ruff format --quiet

coverage: $(INSTALLED)
	$(PYTEST) -m "not site" --cov --cov-report=term

docs: $(INSTALLED_DOCS)
	$(BIN)/python scripts/build_docs.py

docs-test: docs
	$(BIN)/python -m pytest --quiet -m site tests/docs/test_site.py

results: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --config-settings editable_mode=compat --editable '.[results]'
	$(BIN)/python -m benchmarks.results

tables: $(INSTALLED)
	$(BIN)/python scripts/tables.py

clean:
	rm -rf .venv build dist *.egg-info .coverage .hypothesis .jax_cache .mypy_cache .pytest_cache .ruff_cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "diffface needs Python 3.11 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	echo "Installing diffface, JAX, PyTorch and autograd into .venv (only this once)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check \
		--constraint constraints.txt --config-settings editable_mode=compat --editable '.[all,dev]'
	touch $(INSTALLED)

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --config-settings editable_mode=compat --editable '.[docs]'
	touch $(INSTALLED_DOCS)
