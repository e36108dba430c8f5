# Everything is set up from the locked requirements in .venv; nothing is installed outside this folder. The lock names
# every package: pip resolves nothing (pip 23.2 takes a newer release of what is locked when another package asks for
# an extra of it, and then refuses it for want of a hash) and says afterwards whether anything is missing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
PYTEST_WORKERS ?= 3
MARK ?= not real and not slow
# one worker a module; in the order of the files, since the modules with the fewest tests take longest
PYTEST := $(BIN)/python -m pytest -m "$(MARK)" -n $(PYTEST_WORKERS) --dist loadscope --no-loadscope-reorder

.PHONY: help setup demo lab test test-slow again coverage sweep sweep-all fuzz test-real bench static lock clean

help:
	@echo "make demo       move a project between two simulated clouds, show what happened and where the records are"
	@echo "make lab        start the simulated site and open JupyterLab on the notebooks"
	@echo "make test       static checks and all tests that need no special machine"
	@echo "make test-slow  whole ways through notebooks, browsers and machines; many random inputs"
	@echo "make again      the modules of the tests that failed last, once more"
	@echo "make coverage   the same tests, with what they do not reach"
	@echo "make sweep      kill a move at every request; kill, undo and disturb a node on its way there: prints how many were survived"
	@echo "make sweep-all  likewise, with every fault at every request, undoing from everywhere and a roll back (hours)"
	@echo "make fuzz       bad input by the thousand, for whatever reads files or answers: prints how much was tried"
	@echo "make test-real  the same notebooks between two real OpenStack clouds on loopback (root, Debian, Python 2.7)"
	@echo "make bench      how fast images are copied between the real clouds, and in how much memory: prints ratios"
	@echo "make lock       resolve the dependencies again"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "pumphouse needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) from requirements.lock ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip --disable-pip-version-check check
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m pumphouse.lab.demo

lab: $(STAMP)
	@$(BIN)/python -m pumphouse.lab.jupyter

static: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pumphouse lint notebooks

test: static
	$(PYTEST) tests

test-slow: $(STAMP)
	$(PYTEST) -m slow tests

again: $(STAMP)
	$(BIN)/python -m tests.again "$(MARK)"

coverage: $(STAMP)
	$(PYTEST) --cov --cov-report=term:skip-covered tests

sweep: $(STAMP)
	$(BIN)/python -m tests.sweep --scenario move --only kill
	$(BIN)/python -m tests.sweep --scenario acquire
	$(BIN)/python -m tests.sweep --scenario transfer

sweep-all: $(STAMP)
	$(BIN)/python -m tests.sweep --scenario all

test-real: $(STAMP)
	$(BIN)/python -m pytest -m real tests/real tests/contract

# how many inputs of each kind
PUMPHOUSE_FUZZ ?= 1000
fuzz: $(STAMP)
	PUMPHOUSE_FUZZ=$(PUMPHOUSE_FUZZ) $(BIN)/python -m pytest -q -p no:cacheprovider --timeout 0 tests/fuzz

bench: $(STAMP)
	$(BIN)/python -m tests.benchmarks

lock:
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) demo lab
