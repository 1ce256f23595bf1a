# `make demo` and `make test` need Python 3.11 to 3.13 and make, nothing else: each makes .venv by itself.
# PYTHON=... picks the Python that .venv is made from; delete .venv to start afresh.

BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: demo test lint bench compare panel screenshots clean

demo: .venv/installed
	@$(BIN)/lesion-segmenter demo --out demo

test: lint .venv/slicer
	@$(BIN)/python Testing/ensure_system_libraries.py
	@$(BIN)/pytest

lint: .venv/installed
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

bench: .venv/slicer
	@$(BIN)/python Testing/benchmark.py

# Trains every contender for the same time, hours in all, and scores them beside the shipped models.
compare: .venv/installed
	@$(BIN)/python Testing/compare_models.py --write docs/comparison.json

# The module's panel in a window, without Slicer.
panel: .venv/slicer
	@$(BIN)/python Testing/ensure_system_libraries.py --window
	@$(BIN)/python Testing/panel_app.py

# The pictures in docs/pictures that show the panel.
screenshots: .venv/slicer
	@$(BIN)/python Testing/ensure_system_libraries.py
	@$(BIN)/python Testing/screenshots.py

# Leaves .venv, which takes minutes to make again, and runs/, which may hold days of training.
clean:
	rm -rf demo build .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -path ./.venv -prune -o -path ./runs -prune -o \
	  \( -name __pycache__ -o -name '*.egg-info' \) -type d -prune -exec rm -rf {} +

# torch goes first and by its exact version: left to the resolver, it may come in a newer build of gigabytes.
# The build backend is installed pinned and used in place, so that no step takes an unpinned package.
.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "Installing into .venv: some minutes the first time"
	@$(PIP) torch==2.13.0
	@$(PIP) setuptools
	@$(PIP) --no-build-isolation --editable '.[train,dev]'
	@touch $@

# Slicer's MRML libraries, about 1 GB, and Qt: the tests of scene and panel, their benchmarks, `make panel`.
.venv/slicer: .venv/installed
	@echo "Installing Slicer's MRML libraries into .venv for the tests"
	@$(PIP) --no-build-isolation --editable '.[train,dev,slicer]'
	@touch $@

# A candidate counts once it has run: a name on PATH may be a version manager's empty shim, and some systems
# ship Python without the parts that make a virtual environment.
.venv/bin/python:
	@for python in $(if $(PYTHON),"$(PYTHON)",python3.13 python3.12 python3.11 python3); do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null; then "$$python" -m venv --clear .venv; exit; fi; \
	done; \
	echo "No Python 3.11, 3.12 or 3.13 with its venv module was found: install one" \
	  "(Debian, Ubuntu: python3-venv; macOS: python.org), or name it with make PYTHON=..." >&2; \
	exit 1
