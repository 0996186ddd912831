# PediatricsGPT. `make` alone says what there is.
# Variables: PYTHON=/path/to/python3.12 (for a new .venv), TORCH_INDEX_URL=https://… (another build of torch).

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A test that hangs shows where (faulthandler), a suite that hangs is interrupted and still prints its summary.
PYTEST := $(BIN)/pytest -o faulthandler_timeout=900
AT_MOST := timeout --foreground --signal=INT --kill-after=60

.DEFAULT_GOAL := help
.PHONY: help install demo test check clean

help:
	@echo 'make install   everything into .venv (again only when pyproject.toml or constraints.txt changed)'
	@echo 'make demo      the whole pipeline on a small example, on a CPU: corpus, four phases, evaluation, report'
	@echo 'make test      style, types and the quick tests'
	@echo 'make check     the slow tests: whole runs, several processes, a browser; at most an hour'
	@echo 'make clean     remove .venv, caches and built packages; runs/ stays'

install: $(INSTALLED)

$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'error: no Python 3.11 or newer found; name one: make install PYTHON=/path/to/python3.12' >&2; exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "error: $$found cannot make virtual environments; on Debian or Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv --clear $(VENV)

$(INSTALLED): pyproject.toml constraints.txt $(BIN)/python
	@$(BIN)/python tools/install_torch.py
	@echo 'installing pediatricsgpt with everything that development needs'
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/pedgpt run recipes/demo.yaml

# Two processes with one thread each, a file of tests to one of them: half the time of one process with two threads.
test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(AT_MOST) 1800 $(PYTEST) -n 2 --dist loadscope -m 'not check' --durations=10

# One after the other: each of them uses the whole machine.
check: install
	$(AT_MOST) 3600 $(PYTEST) -p no:cacheprovider -m check --no-skips --durations=10

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks tools -name __pycache__ -prune -exec rm -rf {} +
