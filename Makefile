# Needs GNU make, a POSIX shell, and python3 (3.11 or newer) with pip. Every path is relative, so that the folder's
# own path may contain spaces; tools run as `python -m`, because a script's first line names the folder it was made in.

PYTHON ?= python3
UV ?= uv
ARGS ?=
# Tests at the same time: two for each of the two cores that they are made for. The long ones wait more than they
# compute, and they come first (tests/conftest.py); but some measure time, so no more than that.
JOBS ?= 4

# "yes" if .venv was set up completely, in this folder, and its Python still starts. Anything else is made anew.
READY := $(shell .venv/bin/python -c "" 2>/dev/null && [ "`cat .venv/.ready 2>/dev/null`" = "`pwd -P`" ] && echo yes)

# The locks are renewed from what they already hold; ARGS=--upgrade takes the newest of everything.
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" \
	$(ARGS) pyproject.toml --group build --extra local --extra postgres

.DEFAULT_GOAL := help
.PHONY: help set-up demo test lint format-check types format bench chaos requirements clean

help:
	@echo "make demo          set up, then dial the bundled example through the sandbox"
	@echo "make test          set up, then run all tests   (ARGS='-k pacer' runs some)"
	@echo "make lint          ruff"
	@echo "make format        ruff's formatter; format-check only looks"
	@echo "make types         mypy, strict"
	@echo "make bench         the benchmarks"
	@echo "make chaos         a campaign under disasters   (ARGS='--kills 1000 --ledger postgresql'; --help)"
	@echo "make requirements  renew the hashed requirements (needs uv; ARGS=--upgrade takes the newest)"
	@echo "make clean         remove .venv and caches; .dialer, which holds the ledger, stays"
	@echo "Set-up makes .venv with $(PYTHON); another one: make PYTHON=python3.12 demo"

set-up: .venv/.ready
	@:

demo: .venv/.ready
	@.venv/bin/python -m worker.cli demo $(ARGS)

# The tests start hundreds of processes: where Python may not write what it has compiled, as in many
# containers, each would compile all of the program anew.
test: .venv/.ready
	@.venv/bin/python -m compileall -q campaigns worker bench tests
	@.venv/bin/python -m pytest -n $(JOBS) --dist load --maxschedchunk 1 $(ARGS)

lint: .venv/.ready
	@.venv/bin/python -m ruff check $(ARGS) .

format-check: .venv/.ready
	@.venv/bin/python -m ruff format --check $(ARGS) .

format: .venv/.ready
	@.venv/bin/python -m ruff format .
	@.venv/bin/python -m ruff check --fix .

types: .venv/.ready
	@.venv/bin/python -m mypy $(ARGS)

bench: .venv/.ready
	@set -e; for each in bench/[!_]*.py; do echo "== $$each"; .venv/bin/python "$$each" $(ARGS); done

chaos: .venv/.ready
	@.venv/bin/python -m bench.chaos --header $(or $(ARGS),--kills 200 --flushes 5 --redis-restarts 3 --freezes 2)

ifneq ($(READY),yes)
.PHONY: .venv/.ready
endif

# .ready is removed first and written last: a set-up that was interrupted starts again from nothing.
# Debian without python3-venv cannot put pip into a new environment; then the pip outside fills it.
.venv/.ready: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is %d.%d, and 3.11 or newer is needed. Name another one: make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "setting up .venv (about a minute) ..."
	@set -e; rm -f .venv/.ready; \
	if [ "$(READY)" != yes ]; then \
		$(PYTHON) -m venv --clear .venv >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip .venv; \
	fi; \
	if .venv/bin/python -m pip --version >/dev/null 2>&1; then pip=".venv/bin/python -m pip"; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then pip="$(PYTHON) -m pip --python .venv/bin/python"; \
	else echo "$(PYTHON) has no pip. Install it (Debian: apt-get install python3-pip) and run make again." >&2; exit 1; fi; \
	quietly="--quiet --quiet --disable-pip-version-check --no-input"; \
	$$pip install $$quietly --require-hashes -r requirements-dev.txt; \
	$$pip install $$quietly --no-deps --no-build-isolation -e .; \
	pwd -P > .venv/.ready

# The second lock takes the pins of the first, so that what runs is what was tested.
requirements:
	$(LOCK) --extra dev -o requirements-dev.txt
	$(LOCK) --constraint requirements-dev.txt -o requirements.txt

clean:
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find campaigns worker tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
