# Targets: setup serve test test-all chaos check fmt bench clean. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.setup-done
MODEL  ?=
HOURS  ?= 1
MINUTES ?= 30
RUNS   ?= 600000
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup serve test test-all test-postgres chaos soak fuzz audit check fmt bench clean

help:
	@echo "make serve [MODEL=path-or-hub-id] [ARGS=\"--max-model-len 4096\"]  serve a model (default: the bundled one)"
	@echo "make test       unit, integration and end-to-end tests (at most 5 minutes on 2 cores)"
	@echo "make test-all   the same, then volume, clients, chaos, browser and deploy (root, Docker) suites"
	@echo "make test-postgres   the integration suite on a PostgreSQL of its own (needs Debian's postgresql)"
	@echo "make chaos HOURS=n   kill everything for n hours, compare all books, add to docs/reliability/"
	@echo "make soak MINUTES=n   mixed load on the real engine; memory, blocks and descriptors must stay"
	@echo "make fuzz RUNS=n     atheris over parsers, file headers, frames and bodies; adds to its record"
	@echo "make audit      bandit over our code, pip-audit over the lock (asks the advisory database)"
	@echo "make check      lint, types, migrations, import directions"
	@echo "make bench      speed of engine and web tier, each beside its control"
	@echo "make fmt        format the code"
	@echo "make clean      remove the environment and all build output (keeps .pagoda/)"

setup: $(STAMP)

$(STAMP): requirements/cpu.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Pagoda needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.11 setup" % sys.version.split()[0])'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (a few minutes the first time)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/cpu.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m engine.kernels.cpu $(PAGODA_CACHE_DIR)
	@touch $(STAMP)

serve: setup
	@exec $(BIN)/pagoda serve $(MODEL) $(ARGS)

test: setup
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder tests/unit tests/integration tests/e2e $(ARGS)

# Every suite runs, whatever became of the one before it; one that failed fails the whole.
test-all: setup
	@failed=; $(MAKE) test || failed=" test"; \
	for suite in volume clients chaos browser; do \
		$(BIN)/python -m pytest tests/$$suite $(ARGS) || failed="$$failed $$suite"; \
	done; \
	$(BIN)/python tests/deploy/run || failed="$$failed deploy"; \
	test -z "$$failed" || { echo "Failed:$$failed" >&2; exit 1; }

test-postgres: setup
	$(BIN)/python -m tests.postgres $(ARGS)

chaos: setup
	$(BIN)/python -m tests.chaos.storm --hours $(HOURS) $(ARGS)

soak: setup
	$(BIN)/python -m tests.storms soak --minutes $(MINUTES) $(ARGS)

# The fuzzer and the auditors are installed on first use: nothing else needs them.
AUDITORS := $(VENV)/.auditors-done

$(AUDITORS): requirements/audit.lock $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/audit.lock
	@touch $(AUDITORS)

fuzz: $(AUDITORS)
	$(BIN)/python -m tests.fuzz --runs $(RUNS) $(ARGS)

audit: $(AUDITORS)
	$(BIN)/bandit -q -ll -c pyproject.toml -r engine apps inference_site demo
	$(BIN)/pip-audit --strict -r requirements/cpu.lock --no-deps --disable-pip

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m pytest -q tests/unit/layout

fmt: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
