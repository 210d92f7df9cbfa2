# Every target makes what it needs, in .venv: a fresh clone wants Python 3.11 or newer, git and make, nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
override RUN := runs/demo

# One .venv serves all targets: each installs what it needs on top of what is there, and a stamp says that it is. The
# pins make that safe, since every set of extras gets the same versions. `make PYTHON=python3.12 ...` uses another
# Python; run `make clean` first if .venv exists already.
STAMP := $(VENV)/stamps
REQUIREMENTS := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all smoke lint format docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP)/package ## from a graph to a verdict; writes runs/demo anew (about 3 minutes)
	rm -rf $(RUN)
	$(BIN)/hlvm demo --out $(RUN)

# Two processes, since compilation by XLA, most of the time, keeps one core busy.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

test: $(STAMP)/test ## the tests without the slow ones
	$(PYTEST)

test-all: $(STAMP)/test ## all tests that need no GPU
	$(PYTEST) -m "not gpu"

# Each in a process of its own, two at a time, as a user would run it.
smoke: $(STAMP)/test ## every experiment at its smallest size, into runs/smoke anew
	rm -rf runs/smoke
	mkdir -p runs/smoke
	$(BIN)/python -c 'from experiments import NAMES; print(*NAMES, sep="\n")' > runs/smoke/names
	xargs -n 1 -P $(WORKERS) sh -c 'begin=$$(date +%s); \
	    $(BIN)/python -m experiments.$$0 --preset smoke --out runs/smoke/$$0 > runs/smoke/$$0.log 2>&1 \
	    && echo "$$0 runs, $$(( $$(date +%s) - begin )) s" || { cat runs/smoke/$$0.log; exit 1; }' < runs/smoke/names

lint: $(STAMP)/dev ## ruff and pyright
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

format: $(STAMP)/dev ## let ruff rewrite the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(STAMP)/docs ## the documentation, into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html

clean: ## remove .venv, build outputs and caches; runs/ stays
	rm -rf $(VENV) build dist docs/_build docs/api/generated .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hlvm needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(@D) && touch $@

# The package is installed in place (-e), so edits of the code need no new installation.
$(STAMP)/package: $(REQUIREMENTS) | $(STAMP)/venv
	$(INSTALL) -e .
	@mkdir -p $(@D) && touch $@

$(STAMP)/%: $(REQUIREMENTS) | $(STAMP)/venv
	$(INSTALL) -e '.[$*]'
	@mkdir -p $(@D) && touch $@
