# Every target sets up what it needs; `make help` lists them. Variables may be given on the command
# line: PYTHON (interpreter), VENV (folder of the environment), and those named beside each target.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
AGENTDOJO_VENV ?= .venv-agentdojo
# Recorded data and peers for tests and benchmarks that use them; what needs them skips without.
DATA ?= $(wildcard ../shared/data)
PEERS ?= $(wildcard ../shared/peers)
# Tests that need the machine to themselves run after the others, which share it.
JOBS ?= 2
TESTS ?= tests
AGENTS ?= 2000

RUN := $(VENV)/bin/python
SET_UP := $(PYTHON) scripts/set_up.py
PRODUCT := $(SET_UP) --venv $(VENV) --project --build requirements/build.txt
DEV := $(PRODUCT) --lock requirements/dev.txt
EXAMPLE := $(PRODUCT) --lock requirements/example.txt --or requirements/dev.txt

export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help demo test conformance check format bench agentdojo simulate storm lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: ## Run the support desk on messages; TRAIN=csv TICKETS=csv LIMIT=n INTERLOCK_MODEL=name
	@$(EXAMPLE)
	@$(RUN) -m examples.support_desk demo $(if $(TRAIN),--train "$(TRAIN)") \
		$(if $(TICKETS),--tickets "$(TICKETS)") $(if $(LIMIT),--limit $(LIMIT))

test: ## Run all tests; TESTS=path for some, JOBS=n at once, DATA=folder of recorded data
	@$(DEV)
	@sh scripts/set_up_npm.sh $(RUN) requirements/mcp $(VENV)/mcp-servers \
		|| echo "test: the MCP servers from npm could not be installed; their tests are skipped"
	@sh scripts/test.sh $(RUN) $(JOBS) $(TESTS) -- $(if $(DATA),--data "$(DATA)")

conformance: ## Run the official suite of the Model Context Protocol, from npm
	@$(DEV)
	@sh scripts/set_up_npm.sh $(RUN) requirements/mcp $(VENV)/mcp-servers
	@$(RUN) -m pytest -q tests/acceptance/test_mcp*conformance.py

check: ## Lint, format, types and layers, without changing anything
	@$(DEV)
	@failed=0; \
	$(RUN) -m ruff check --quiet || failed=1; \
	$(RUN) -m ruff format --check --quiet --output-format concise || failed=1; \
	$(RUN) -m pyright --pythonpath $(RUN) --warnings || failed=1; \
	$(VENV)/bin/lint-imports --no-cache || failed=1; \
	exit $$failed

format: ## Rewrite the sources in the house format
	@$(DEV)
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

bench: ## Time ten-step runs and agents beside the peers, print ratios; PEERS=folder POSTGRES=1
	@$(DEV)
	@$(SET_UP) --venv $(BENCH_VENV) --lock requirements/bench.txt \
		|| echo "bench: the peers could not be installed and are skipped"
	@sh scripts/set_up_npm.sh $(RUN) requirements/restate $(BENCH_VENV) \
		|| echo "bench: the Restate server could not be installed and is skipped"
	@$(RUN) -m benchmarks $(if $(PEERS),--peers "$(PEERS)") --peers-python $(BENCH_VENV)/bin/python \
		$(if $(POSTGRES),--postgres)
	@$(RUN) -m benchmarks.agents $(if $(PEERS),--peers "$(PEERS)") \
		--peers-python $(BENCH_VENV)/bin/python

agentdojo: ## Play AgentDojo's attacks by scripted callers against the gateway, without a model
	@$(SET_UP) --venv $(AGENTDOJO_VENV) --project --build requirements/build.txt \
		--lock requirements/agentdojo.txt
	@$(AGENTDOJO_VENV)/bin/python -m benchmarks.agentdojo

simulate: ## Run generated agents on virtual time and crash at every commit; AGENTS=n SEED=n
	@$(DEV)
	@$(RUN) -m interlock.testing.simulate --agents $(AGENTS) $(if $(SEED),--seed $(SEED))

storm: ## Have people decide at once while the executor is killed; KILLS=n RUNS=n SEED=n
	@$(DEV)
	@APPROVAL_KILLS=$(or $(KILLS),60) APPROVAL_RUNS=$(or $(RUNS),400) APPROVAL_SEED=$(or $(SEED),1) \
		$(RUN) -m pytest -q -s tests/acceptance/test_approvals_killed.py

lock: ## Write the lock files again after a change of pyproject.toml; UPGRADE=1 for newer versions
	@$(DEV)
	@sh scripts/lock.sh $(RUN) $(if $(UPGRADE),--upgrade)

clean: ## Remove the environments and what tools left behind
	rm -rf $(VENV) $(BENCH_VENV) $(AGENTDOJO_VENV) build dist .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
