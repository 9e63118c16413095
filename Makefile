# Everything runs in .venv, which is made on first use and brought up to date when pyproject.toml changes.
#
#   make                                                      what there is
#   make demo ARGS='--robots 2'                               options of `fleetloop demo`
#   make test PYTHON=/opt/python3.12/bin/python3              another Python; 3.11 or newer
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
#
# TORCH_INDEX: the package index that torch alone is taken from. Empty, pip takes it from where it takes everything,
# and on Linux that may be a build for CUDA, gigabytes of it. PyTorch's own indexes: https://pytorch.org/get-started.
# PYTHON: empty, it is the first of python3, python3.13, python3.12, python3.11 that is new enough.
# PYTHON and TORCH_INDEX are read while .venv is made; to change either, `make clean` first.

TORCH_INDEX ?=
PYTHON ?=
ARGS ?=

VENV := .venv
LEROBOT := .venv-lerobot
EXTRAS := .venv-extras
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
# One thread for each of the test processes, which are as many as the smallest machine has cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-lerobot test-extras lint format bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## a simulated fleet that learns while it works: a few minutes, no GPU
	@$(BIN)/fleetloop demo $(ARGS)

test: lint ## lint, then all tests but the long ones: up to 6 minutes
	@.ci/install-system
	@$(PYTEST) -m "not long and not lerobot and not extras" -n 2

test-long: $(INSTALLED) ## the long tests: up to 15 minutes
	@.ci/install-system
	@$(PYTEST) -m long

test-lerobot: ## against the real LeRobot: an environment of its own, with Python 3.12 or newer; 6 GB
	@.ci/make-lerobot-venv $(LEROBOT) "$(PYTHON)"
	@$(LEROBOT)/bin/python -m pytest -q -m lerobot tests/datasets/test_datasets_with_lerobot.py

test-extras: ## Meta-World and Rerun: an environment of its own, since Meta-World pins MuJoCo; 1 GB
	@.ci/make-venv $(EXTRAS) "$(PYTHON)" "" metaworld,rerun,test
	@CI=true $(EXTRAS)/bin/python -m pytest -q -m extras tests/robots/test_metaworld.py tests/datasets/test_datasets_playing.py

lint: $(INSTALLED) ## style, types, and which part may import which
	@echo "ruff, mypy, import-linter"
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "make format would mend that"; exit 1; }
	@$(BIN)/mypy
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said"; exit 1; }

format: $(INSTALLED) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

bench: $(INSTALLED) ## speed, as tables
	@for script in bench/*.py; do echo "$$script"; $(BIN)/python "$$script" || exit 1; done

clean: ## remove the environments
	@rm -rf $(VENV) $(LEROBOT) $(EXTRAS)

$(INSTALLED): pyproject.toml
	@.ci/make-venv $(VENV) "$(PYTHON)" "$(TORCH_INDEX)"
	@touch $@
