# Needs python3 (3.11 or later) and make; everything else is installed into .venv: for each target the extra it needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed-dev

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-fleet check test lint bench soak mutants docs format clean

# A worker for each core. "worksteal" gives each worker neighbouring tests, so that the fixtures of a module are mostly
# made once, and lets a worker that has finished take tests from another: "loadscope" ends with one worker at work.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

help: ## show this list
	@echo "soapbatch: what make can do (PYTHON=/path/to/python3 chooses another interpreter for .venv)"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed-demo ## run a batch job on an embedded NetServer and watch it, over a loopback socket
	@$(BIN)/soapbatch demo

demo-fleet: $(INSTALLED) ## run 30 jobs of 5 tenants on a Temporal server and two workers, and kill one of the workers
	@$(BIN)/python -m tests.fleet_demo

check: lint ## run ruff, both type checkers and the fast tests, in under a minute: while you work
	@echo "== pytest: the tests that are not marked slow"
	@$(PYTEST) -m "not slow"

test: lint ## run ruff, both type checkers and all tests with branch coverage: before you hand in
	@echo "== pytest: the tests of soap, with soapbatch/soap/fast switched off"
	@SOAPBATCH_FAST=off $(PYTEST) tests/soap -q
	@echo "== pytest: all tests, with branch coverage of the package"
	@$(PYTEST) --cov --durations 15 --durations-min 1

.PHONY: test-all
test-all: ## run the tests with each Python found, 3.11 to 3.14, and with the lowest dependencies: before a release
	@$(PYTHON) -m tests.pythons

lint: $(INSTALLED) ## run ruff and both type checkers, without the tests
	@echo "== ruff check: every rule; pyproject.toml gives a reason for each exception"
	@$(BIN)/ruff check .
	@echo "== ruff format --check: layout ('make format' corrects it)"
	@$(BIN)/ruff format --check .
	@echo "== mypy --strict (package and tests) and basedpyright (package), side by side"
	@report=$$(mktemp); $(BIN)/basedpyright >"$$report" & pyright=$$!; \
	    $(BIN)/mypy; mypy=$$?; wait $$pyright; pyright=$$?; \
	    cat "$$report"; rm -f "$$report"; exit $$((mypy | pyright))

bench: .venv/.installed-bench ## measure against zeep, lxml and httpx; write tables, JSON and a picture to .bench
	@$(BIN)/python -m tests.bench

soak: $(INSTALLED) ## make 20,000 calls with injected faults and check what they leave behind; then fuzz the parser
	@$(BIN)/python -m tests.soak
	@$(BIN)/python -m tests.fuzz

mutants: $(INSTALLED) ## put 150 mistakes into the modules that decide, one at a time: does a test notice? 15 minutes
	@$(BIN)/python -m tests.mutants

docs: .venv/.installed-docs ## build the reference and the guide as HTML into build/docs, with pdoc
	@$(BIN)/python -m tests.docs

format: $(INSTALLED) ## format the code, and fix what ruff can fix by itself
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## remove .venv and everything else that these commands create
	rm -rf .bench .pythons .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
	find soapbatch tests -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv/bin/pip is the last thing that venv writes: without it an earlier attempt was cut short.
.venv/.installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "soapbatch needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing)." \
	         "Name another: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "== creating .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "== installing soapbatch[$*] into .venv (a minute or two the first time; for the demo, seconds)"
	@$(BIN)/python -m pip install --disable-pip-version-check -qq --editable '.[$*]'
	@touch $@
