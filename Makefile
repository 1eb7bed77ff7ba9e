# `make` or `make help` lists the targets. The first one that needs it makes .venv; nothing is installed outside of it.
VENV ?= .venv
BIN = $(VENV)/bin
# Words for `pip install` that replace the choice of torch made in scripts/setup.sh, e.g.
#   make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH ?=
# Test processes; each computes on one thread.
JOBS ?= 2
SOURCES = src tests examples study
QUICK_STUDY = quick results --runs runs/study-quick --results runs/study-quick/results --page runs/study-quick/results.md

export TORCH
# Set, it would have each of the many processes of the tests compile torch anew: 15 seconds before anything begins.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo install install-dev test lint format types contracts pytest test-browser test-engines test-slow test-sandbox test-gpu bench study clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install ## install and run the demo: GRPO and MCPO on the bundled model, ends with a report
	$(BIN)/mcpo-rl demo

install: $(VENV)/.installed ## make .venv and install mcpo-rl with what its report needs

install-dev: $(VENV)/.installed-dev ## the same with the tools for development

$(VENV)/.installed: pyproject.toml scripts/setup.sh
	scripts/setup.sh $(VENV) report
	@touch $@

$(VENV)/.installed-dev: pyproject.toml scripts/setup.sh
	scripts/setup.sh $(VENV) dev
	@touch $(VENV)/.installed $@

test: lint types contracts pytest ## install, then lint, types, contracts and the tests (minutes, no GPU)

lint: install-dev ## ruff: rules and format
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

format: install-dev ## rewrite the sources in ruff's format, with what it can mend
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

types: install-dev ## mypy, strict, on src/
	$(BIN)/mypy

contracts: install-dev ## import-linter: the layers
	$(BIN)/lint-imports --no-cache

pytest: install-dev ## the tests alone
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) -m "not browser and not engines and not slow and not sandbox and not gpu"

test-browser: install-dev ## the tests that open reports in Chromium
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "browser and not slow" tests/browser

test-engines: install-dev ## the tests on several processes: DDP, FSDP2, DeepSpeed ZeRO, failures (minutes, no GPU)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "engines and not gpu" tests/engines

test-slow: install-dev ## the tests that take minutes each
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow

test-sandbox: install-dev ## the whole red-team corpus at every level that this machine has
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) -m sandbox tests/sandbox

test-gpu: install-dev ## the tests that need a CUDA device
	$(BIN)/pytest -m gpu

bench: install-dev ## measure overhead, exactness, scaling and the sandbox; writes runs/bench.json
	mkdir -p runs
	$(BIN)/mcpo-rl bench --output runs/bench.json

study: install-dev ## run or go on with the study of docs/results.md (hours), then write results/; QUICK=1: a quarter of an hour
	$(BIN)/python -m study $(if $(QUICK),$(QUICK_STUDY),full sweep fresh room smollm2 results)

clean: ## remove .venv, caches and build outputs; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
