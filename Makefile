# The two commands of the set-up: `make demo` and `make test`. Both start from a bare Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin
CORPUS ?= stdlib
SERVE ?= 1
RECIPE ?= recipes/quickstart.toml
# Three minutes of pretraining instead of the recipe's four: the whole is to end within nine.
MINUTES = $(if $(findstring quickstart,$(RECIPE)),--set pretrain.minutes=3,)

.PHONY: demo test slow clients check clean help

help:
	@echo "make demo [CORPUS=folder] [SERVE=0]   an assistant of your text at once, then models of your own"
	@echo "make test                             ruff, mypy, import-linter, pytest"
	@echo "make slow                             the proofs that take minutes"
	@echo "make clients                          other people's clients against the server (needs the network)"

demo: .venv/installed
	$(BIN)/seedbed demo --recipe $(RECIPE) $(MINUTES) --corpus "$(CORPUS)" $(if $(filter 0,$(SERVE)),--no-serve,)

test: check
	$(BIN)/pytest -n auto --dist worksteal

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: .venv/installed-dev
	$(BIN)/pytest -m slow

# An environment of their own: some hold back what the other tests need (LiteLLM and llm the version of openai).
clients: .venv-clients/installed
	.venv-clients/bin/pytest -m slow tests/clients

.venv-clients/installed: pyproject.toml
	$(PYTHON) -m venv .venv-clients
	.venv-clients/bin/pip install --quiet "torch==2.13.0"
	.venv-clients/bin/pip install --quiet -e ".[clients]"
	touch $@

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -e .
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet -e ".[dev]"
	touch $@

clean:
	rm -rf .venv .venv-clients .mypy_cache .pytest_cache .ruff_cache .hypothesis
