# The project's commands. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINES := transformers whisper
SYSTEM_PACKAGES := bubblewrap util-linux python3-venv

.PHONY: help setup fix check test docs demo fuzz vectors altered crashes mutants rollouts escapes servers soak clean

help: ## List the commands.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/python:
	@scripts/check-python $(PYTHON)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.node: pyproject.toml | $(BIN)/python
	@echo "installing cloister[node] into $(VENV) from PyPI"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[node]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.node
	@echo "installing the development tools into $(VENV), and the other engines (torch alone is 200 MB) below it, from PyPI"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile $$($(BIN)/python scripts/dev_group.py)
	@PIP_QUIET=1 $(BIN)/cloister engine install $(ENGINES)
	@touch $@

setup: ## Install what Cloister needs: Debian packages (announced) and a virtual environment.
	@scripts/debian-packages demo
	@$(MAKE) --no-print-directory $(VENV)/.node

demo: setup ## Start everything, send one spoken sentence through, print the chain, end everything.
	@$(BIN)/cloister demo

fix: $(VENV)/.dev ## Format the code and mend what ruff can mend.
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

check: $(VENV)/.dev ## Lint, types, floors, dependencies, dead code, spelling.
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	PYTHONPATH=src $(BIN)/lint-imports --no-cache
	$(BIN)/deptry src
	$(BIN)/vulture
	$(BIN)/codespell $$(git ls-files)

# Bytecode is kept whatever this shell says: the commands and services that tests start by the hundred load it.
test: export PYTHONDONTWRITEBYTECODE :=
test: ## Run every test.
	@scripts/debian-packages test
	@$(MAKE) --no-print-directory $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

fuzz: $(VENV)/.dev ## Throw mutants at every parser, FUZZ_SECONDS each, and EVIDENCE_MUTANTS of recorded evidence.
	PYTHONPATH=src:. $(BIN)/python tests/fuzz/parsers.py --seconds $(or $(FUZZ_SECONDS),20)
	PYTHONPATH=src:. $(BIN)/python tests/fuzz/evidence.py --mutants $(or $(EVIDENCE_MUTANTS),1000000)

vectors: $(VENV)/.dev ## Judge recorded evidence and published logs under CLOISTER_VECTORS (../shared/vectors).
	@PYTHONPATH=src:. $(BIN)/python -m tests.vectors.attestation; evidence=$$?; \
	PYTHONPATH=src:. $(BIN)/python -m tests.vectors.ledger; logs=$$?; exit $$((evidence | logs))

altered: $(VENV)/.dev ## Judge EVIDENCE_MUTANTS (100,000) changed copies of recorded evidence: three minutes, none may pass.
	PYTHONPATH=src:. $(BIN)/python tests/fuzz/evidence.py --mutants $(or $(EVIDENCE_MUTANTS),100000)

crashes: $(VENV)/.dev ## Let ledger, witnesses and KMS die at every durable step; CRASH_EXAMPLES lives of a system, STORE_EXAMPLES of stores.
	CRASH_EVERY=1 CRASH_EXAMPLES=$(or $(CRASH_EXAMPLES),2000) REPLICA_EXAMPLES=$(or $(CRASH_EXAMPLES),2000) \
	  $(BIN)/python -m pytest tests/properties/test_crashes.py tests/properties/test_replicas.py

mutants: $(VENV)/.dev ## Change every line of the checks in turn, and list the changes that no test noticed.
	$(BIN)/mutmut run
	$(BIN)/mutmut results

rollouts: $(VENV)/.dev ## Replace measured gateways by a deployment API while sealed requests pass through them, ROLLOUTS (3) times.
	ROLLOUTS=$(or $(ROLLOUTS),3) $(BIN)/python -m pytest tests/flows/test_deployed_gateways.py

escapes: $(VENV)/.dev ## Try to get out of the sandbox of every engine, in every way and by every tool: two minutes.
	ESCAPES_EVERY=1 $(BIN)/python -m pytest tests/flows/test_escapes.py tests/flows/test_escapes_of_engines.py

servers: $(VENV)/.dev ## Ask every server of other makers in the sandbox, those too that take minutes: transformers serve.
	EVERY_SERVER=1 $(BIN)/python -m pytest tests/flows/test_upstream_servers.py

soak: $(VENV)/.dev ## Run a whole system at 80 % of its limit with 1 % of faults, for SOAK_SECONDS (1800).
	PYTHONPATH=src $(BIN)/python bench/soak.py --seconds $(or $(SOAK_SECONDS),1800)

docs: $(VENV)/.dev ## Make the pages that are made from the code: the check catalogue, the command line.
	$(BIN)/python scripts/check_catalogue.py --write
	PYTHONPATH=src $(BIN)/python scripts/command_line_page.py --write

clean: ## Remove what the other commands made in this folder.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
