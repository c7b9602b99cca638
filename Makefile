# One virtual environment for everything; it is made again when the list of packages changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test ui lint format notebooks setup clean

run: setup  ## the talk's table on the embedded synthetic example
	$(BIN)/python -m protein_robust.pipeline run pipelines/example.yaml

test: lint  ## everything that must hold
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

ui: setup  ## MLflow's pages on this machine
	$(BIN)/python -m protein_robust.pipeline ui

lint: setup  ## style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

notebooks: setup  ## run the notebooks again and keep what they show
	$(BIN)/python -m jupytext --to ipynb --update notebooks/*.py
	# Without real data, none of which may be committed.
	cd notebooks && PROTEIN_ROBUST_TEST_DATA=none ../$(BIN)/jupyter execute --inplace *.ipynb

setup: $(READY)

# The packages are pinned to the versions tested. torch goes first: where a CPU build of the pinned
# version is at hand, pip takes it, and later packages do not ask for another.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Expected Python 3.11 or newer, got $$($(PYTHON) --version); set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,notebooks]'
	touch $@

clean:  ## forget the environment, not the results
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
