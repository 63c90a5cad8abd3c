# The two commands of the set-up: `make demo` and `make test`. Both start from a bare Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin
CORPUS ?= stdlib
SERVE ?= 1
RECIPE ?= recipes/quickstart.toml

.PHONY: demo test slow check clean help

help:
	@echo "make demo [CORPUS=folder] [SERVE=0]   train a small model on your text and talk to it"
	@echo "make test                             ruff, mypy, import-linter, pytest"
	@echo "make slow                             the proofs that take minutes"

demo: .venv/installed
	$(BIN)/seedbed demo --recipe $(RECIPE) --corpus "$(CORPUS)" $(if $(filter 0,$(SERVE)),--no-serve,)

test: check
	$(BIN)/pytest

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: .venv/installed-dev
	$(BIN)/pytest -m slow

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis
