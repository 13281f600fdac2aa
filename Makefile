# SPDX-License-Identifier: GPL-3.0-or-later
# make demo   set up, simulate particles and run a Scipion project on them
# make test   set up and run all tests
# PYTHON=python3.11 chooses the Python, VENV=DIR the environment.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= engine,mpi,launcher,test
BIN := $(VENV)/bin

.PHONY: help demo test install check lint clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: install
	$(BIN)/python -m cryoralib_plugin demo --output demo_output

test: install
	$(BIN)/python -m pytest tests

install: $(VENV)/installed

check:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; name a Python 3.9 to 3.12, for instance: make demo PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 9) <= v <= (3, 12) or sys.exit("cryoralib needs Python 3.9 to 3.12 (packages that Scipion pins have wheels for no other), but $(PYTHON) is Python %d.%d. Name another, for instance: make demo PYTHON=python3.11" % v)'
	@$(PYTHON) cryoralib_plugin/system_packages.py

$(VENV)/installed: setup.py pyproject.toml
	@$(MAKE) --no-print-directory check
	$(PYTHON) -m venv $(VENV)
	# Old releases of pip search for minutes among the packages that Scipion pins.
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[$(EXTRAS)]'
	touch $@

lint: install
	$(BIN)/python -m pip install --quiet ruff mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info demo_output
