# Two commands matter to a newcomer: `make demo` and `make test`. Both install what they need into .venv first.
# PYTHON=/path/to/python chooses the interpreter for .venv; by default the first one of 3.11 or newer is taken.

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/pytest
SIDE_BY_SIDE := -n 2  # tests/support/side_by_side.py says what goes where

.DEFAULT_GOAL := help
.PHONY: help install demo test test-long check lint bench wheel test-wheel services-up services-down

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' Makefile | awk -F': *' '{printf "make %-13s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## install forebay (editable) and its tools into .venv

$(VENV)/.installed: pyproject.toml .ci/venv
	@.ci/venv $(VENV) dev
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@.ci/venv $(VENV) bench
	@touch $@

demo: install  ## run the whole path with failures, and count what was lost
	$(BIN)/forebay demo

test: lint test-wheel  ## everything CI runs: lint, types, the wheel, all tests but the long ones
	$(PYTEST) $(SIDE_BY_SIDE) --durations=20

test-long: install  ## the full-size runs too; writes docs/verification.md; PART="name ..." runs some parts
	.ci/test-long $(PART)

check: lint  ## the fast part of `make test`, for use while working
	$(PYTEST) -m "not slow and not long"

lint: install  ## ruff (rules and format) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/typecheck.py

bench: $(VENV)/.installed-bench  ## run the benchmarks; BENCH="name ..." runs some of them
	$(BIN)/python bench/run.py $(BENCH)

services-up: install  ## start Redis, Consul and Kafka from packages; prints the configuration for them
	$(BIN)/forebay services up

services-down: install  ## stop the servers that services-up started
	$(BIN)/forebay services down

wheel: install  ## build dist/forebay-*.whl (by way of the sdist)
	rm -rf dist
	$(BIN)/python -m build --quiet --outdir dist .

test-wheel: wheel  ## install the wheel into a fresh environment and try it there
	.ci/test-wheel dist/forebay-*.whl
