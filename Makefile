# Every recipe works on a fresh machine that has make and Python 3.11 or newer with its venv module:
# the virtual environment is made on demand and again when pyproject.toml has changed.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DOCS   := $(VENV)/.docs

KILLS  ?= 5
SEED   ?= 1
export TEXT
# Without byte code every process that a test starts compiles the package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-nightly check bench docs wheel clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "holdfast needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

demo: $(READY) ## word count over real text by a cluster that is killed on the way (TEXT=dir KILLS=5 SEED=1)
	$(BIN)/holdfast chaos examples/demo.py:app --workers 4 --backups 1 --scenario kills --kills $(KILLS) --seed $(SEED)

test: check ## everything that must be green before a change goes in
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations 25

test-nightly: check ## the same with the long campaigns
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "nightly or not nightly"

check: $(READY) ## linter and type checker
	$(BIN)/ruff check holdfast tests examples benchmarks chaos
	$(BIN)/mypy

bench: $(READY) ## the table of docs/benchmarks, from one run; results are kept in benchmarks/results
	$(BIN)/python -m benchmarks.run $(BENCH)

$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

docs: $(DOCS) ## build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

wheel: $(READY) ## build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## remove what was built, downloaded or measured here, but not benchmarks/results
	rm -rf $(VENV) build dist benchmarks/input .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
