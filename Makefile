# make demo             a small real run from simulation to corrected tomogram, with figures and a picture
# make test             style, types, layers and tests        make lint   the first three alone
# make soak             the long test matrices                make bench  figures
# make horovod          builds (once) and installs Horovod    make system-packages  Debian packages, as root
#
# The environment is .venv, made anew when its recipe changes. PYTHON=... chooses the interpreter.

PYTHON ?= python3.11
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test soak bench lint environment horovod system-packages clean

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

environment:
	@tools/make_environment.sh "$(PYTHON)" "$(VENV)"

demo: environment
	@"$(BIN)/mwr-hpc" demo

lint: environment
	"$(BIN)/ruff" check --quiet .
	"$(BIN)/mypy" --no-error-summary
	"$(BIN)/lint-imports" --no-logo
	@if command -v shellcheck >/dev/null; then set -x; shellcheck .ci/run tools/*.sh jobs/*.sbatch; fi

# Without root or a compiler the tests that need them skip and say so, unless MWR_HPC_REQUIRE names their feature.
test: environment
	@tools/system_packages.sh || true
	@tools/build_horovod.sh "$(BIN)/python" || true
	@$(MAKE) --no-print-directory lint
	@tools/run_tests.sh "$(BIN)/python"

soak: environment horovod
	"$(BIN)/python" -m pytest -m soak --timeout 7200

bench: environment
	@for script in benchmarks/*.py; do echo "== $$script"; "$(BIN)/python" "$$script"; done

horovod: environment
	@tools/build_horovod.sh "$(BIN)/python"

system-packages:
	@tools/system_packages.sh

clean:
	rm -rf .venv build demo *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find mwr_hpc tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
