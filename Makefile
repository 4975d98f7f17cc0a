# The commands of this repository; `make help` lists them. Only Python 3.11 to 3.13 (with venv), git and make are needed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
CORES ?= all
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# Rules and tests call the programs of the environment, whether it is activated or not.
export PATH := $(BIN):$(PATH)

.PHONY: help demo test lint format lock bench docs screenshots clean
help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/complete  ## Install, then run the default workflow on virtual patients (minutes on two cores)
	snakemake --cores $(CORES) --logger rich

test: $(VENV)/complete  ## Run every test
	pytest -n logical --maxprocesses 4

lint: $(VENV)/complete  ## Check format and style of Python and Snakemake files
	ruff format --check .
	ruff check .
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(VENV)/complete  ## Put Python and Snakemake files into format
	ruff format .
	ruff check --fix .
	snakefmt Snakefile workflow

lock: $(VENV)/complete  ## Pin the newest versions that pyproject.toml allows, with hashes
	uv pip compile --quiet --upgrade --universal --generate-hashes --extra dev --python-version 3.11 pyproject.toml -o requirements.lock
	uv pip compile --quiet --upgrade --universal --generate-hashes --extra slurm --python-version 3.11 --constraint requirements.lock pyproject.toml -o requirements-cluster.lock
	python envs/pin.py

bench: $(VENV)/complete  ## Measure speed and memory, and write benchmarks/README.md
	python benchmarks/run.py

docs: $(VENV)/complete  ## Build the documentation into docs/_build/html, without a network
	sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs --doctree-dir docs/_build/doctrees . docs/_build/html
	@echo "Open docs/_build/html/index.html"

screenshots: $(VENV)/complete  ## Take the pictures of the report that README.md and docs/ show (needs chromium)
	python tests/browser/in_browser.py results/report/index.html --screenshots docs/images

clean:  ## Delete results and logs, keep the environment and the fetched assets
	rm -rf results logs .snakemake
	find benchmarks -name '*.tsv' -delete

# uv is taken from the lock by pip, everything else from the lock by uv, which takes seconds where pip takes minutes.
# Compiled once: else each of hundreds of jobs would compile torch anew wherever bytecode cannot be written.
$(VENV)/complete: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; set PYTHON=/path/to/python"; exit 1; }
	@echo "Installing the locked environment into $(VENV) (once; about 6 GB)"
	@$(PYTHON) -m venv $(VENV)
	@awk '/^[a-z]/ {uv = /^uv==/} uv' requirements.lock > $(VENV)/uv.lock
	@python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $(VENV)/uv.lock
	@uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
