# make demo: install and run the main job on the embedded orders; make test: install and run every test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export GOMP_SPINCOUNT ?= 0
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test install

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(BIN)/python pyproject.toml plugins/ecommerce/pyproject.toml plugins/support/pyproject.toml plugins/finance/pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[cpu,test]" -e ./plugins/ecommerce -e ./plugins/support -e "./plugins/finance[rss]"
	touch $@

install: $(VENV)/installed

demo: install
	$(BIN)/kgrec ecommerce demo

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile
