# make demo: install and run the main job on the embedded orders; make test: install and run the tests; make slices: the benchmarks, each on a
# small slice.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export GOMP_SPINCOUNT ?= 0
export TOKENIZERS_PARALLELISM ?= false

# Modules are compiled when they are first imported: most of what is installed never is. Then they stay compiled, whatever the shell says:
# hundreds of processes would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --no-compile -c constraints.txt

.PHONY: demo test slices install

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/shop: $(BIN)/python pyproject.toml plugins/ecommerce/pyproject.toml constraints.txt
	$(PIP) -e ".[cpu]" -e ./plugins/ecommerce
	touch $@

$(VENV)/installed: $(BIN)/python pyproject.toml plugins/ecommerce/pyproject.toml plugins/support/pyproject.toml plugins/finance/pyproject.toml constraints.txt
	$(PIP) -e ".[cpu,test]" -e ./plugins/ecommerce -e ./plugins/support -e "./plugins/finance[rss]"
	touch $@ $(VENV)/shop

install: $(VENV)/installed

demo: $(VENV)/shop
	$(BIN)/kgrec ecommerce demo

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --ignore tests/benchmarks

slices: install
	$(BIN)/python -m pytest -n auto --maxprocesses 4 tests/benchmarks
