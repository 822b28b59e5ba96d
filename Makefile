# All that is needed beforehand is make and Python >= 3.11; everything else goes into .venv.
#
#   make demo    train two speech nets, probe them, write demo-out/report.html
#   make test    lint, types, documentation, tests: what CI runs
#   make bench   compare with what a user would otherwise do, as ratios
#
# PYTHON     the interpreter that .venv is made with
# PIP_FLAGS  passed to every pip install, e.g. an index that has torch for this machine
# WORKERS    processes that run the tests

PYTHON ?= python3
PIP_FLAGS ?=
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt
PACKAGING := pyproject.toml constraints.txt plugins  # the folder changes when a plugin comes or goes
CHECKED := torchprobe plugins tests examples $(wildcard benchmarks)

.PHONY: demo test lint types docs bench clean

demo: $(VENV)/.installed
	$(BIN)/torchprobe demo --out demo-out

test: lint types docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

lint: $(VENV)/.installed
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)

types: $(VENV)/.installed
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo-out build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "torchprobe needs Python 3.11 or newer; say which: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch by itself and first: what comes after then takes the build that is there.
$(VENV)/.installed: $(PACKAGING) | $(BIN)/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --upgrade "pip>=24"
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) -e ".[fast,speech,projection,dev]"
	@touch $@

$(VENV)/.bench: $(VENV)/.installed
	$(PIP_INSTALL) -e ".[bench]"
	@touch $@
