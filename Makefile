# Everything is installed into .venv by the first target that needs it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/quickstart

.PHONY: run test lint fix clean

run: $(VENV)/installed          ## the quickstart study on the embedded model, into runs/quickstart
	$(BIN)/polyunlearn study run quickstart --out $(OUT)

# In the order of folders, so that the study on the embedded model, the longest file, begins first rather than last.
test: $(VENV)/installed lint    ## lint, types and all tests
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks examples
	$(BIN)/lint-imports --no-logo --no-cache

fix: $(VENV)/installed          ## mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The constraints pin torch. Where pip's indexes have a CPU build of it that is taken; from PyPI alone gigabytes of CUDA libraries come along
# (PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu has the CPU build).
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polyunlearn needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,lora,bench,chat,hub,langid,lm-eval,dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
