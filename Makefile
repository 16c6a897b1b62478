# Flyweight's chores. `make help` lists them. Needs: python3 (3.11 or newer) with venv, make, bash.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST_WORKERS ?= auto
PYTEST_ARGS ?=
SHELL := bash

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow check format claims size lock clean

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## set up .venv with the locked packages and Flyweight itself

$(STAMP): pyproject.toml requirements.lock requirements-torch.lock tools/make_venv.sh
	@bash tools/make_venv.sh "$(PYTHON)" "$(VENV)"
	$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	$(PIP) install --quiet -r requirements-torch.lock
	$(PIP) install --quiet --no-build-isolation --no-deps --editable .
	$(PIP) check
	@touch $(STAMP)

demo: $(STAMP)  ## the short slimming ladder on real images, to runs/demo/report.html
	$(BIN)/flyweight slim blue_marble --plan ladder --short --out runs/demo
	@echo "The report: runs/demo/report.html"

test: $(STAMP)  ## the tests, slow ones left out
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

test-slow: $(STAMP)  ## the slow tests
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

check: $(STAMP)  ## lint, format, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/check_layers.py

format: $(STAMP)  ## bring the code to the form that `make check` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

claims: $(STAMP)  ## every claim of benchmarks/results, those that fail included
	@$(BIN)/python tools/claims.py benchmarks/results

size: $(STAMP)  ## what an installation takes on disk, extra by extra
	@$(BIN)/python tools/install_size.py

lock: $(STAMP)  ## write requirements.lock anew from pyproject.toml
	@bash tools/make_venv.sh "$(PYTHON)" build/venv-lock
	build/venv-lock/bin/python -m pip install --quiet pip-tools
	build/venv-lock/bin/python tools/lock.py

clean:  ## remove .venv, caches and build products (runs/ stays)
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
