# Needs python3 (3.11 or later) and make; everything else is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench soak format clean

help: ## show this list
	@echo "soapbatch: what make can do (PYTHON=/path/to/python3 chooses another interpreter for .venv)"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## run a batch job on an embedded NetServer and watch it, over a loopback socket
	@$(BIN)/soapbatch demo

test: $(INSTALLED) ## run every check: ruff, mypy, basedpyright, and the tests with branch coverage
	@echo "== ruff check: every rule, each exception explained in pyproject.toml"
	@$(BIN)/ruff check .
	@echo "== ruff format --check: layout ('make format' mends it)"
	@$(BIN)/ruff format --check .
	@echo "== mypy --strict: types of the package and its tests"
	@$(BIN)/mypy
	@echo "== basedpyright: types of the package again, by another judge"
	@$(BIN)/basedpyright
	@echo "== pytest: the tests, with branch coverage of the package"
	@$(BIN)/python -m pytest --cov

bench: $(INSTALLED) ## measure against zeep, lxml and plain httpx; writes a table, JSON and a picture
	@$(BIN)/python -m tests.bench

soak: $(INSTALLED) ## run the long soak: thousands of calls with faults injected, counted and checked for leaks
	@$(BIN)/python -m tests.soak

format: $(INSTALLED) ## lay out the code, and mend what ruff can mend by itself
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## remove .venv and everything else that a command here made
	rm -rf .bench .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
	find soapbatch tests -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv/bin/pip is the last thing that venv writes: without it an earlier attempt was cut short.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "soapbatch needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	         "Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "== creating .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "== installing soapbatch and what it is tested with into .venv (a minute or two the first time)"
	@$(BIN)/python -m pip install --disable-pip-version-check -qq --editable '.[bench,dev]'
	@touch $@
