# Needs Python 3.11 or 3.12, make and a package index; everything else comes into .venv, pinned by version and hash.

PYTHON ?= python3.11 python3.12 python3 python
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := shared/devkit/requirements.txt shared/devkit/engine.txt

# Nothing of the caller's own Python may leak in, whatever their locale and pip settings are.
export PYTHONUTF8 := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

# A path may hold a dollar sign; make shall not read it.
override EML := $(value EML)
export EML

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo run test readme soak smoke figures check lock clean

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## Make .venv and install the pinned packages (the other commands do it when needed)

demo: $(STAMP) ## Run the whole journey and show it (EML=path/to/message.eml for a mail of your own)
	@$(BIN)/python -m shared.devkit demo $${EML:+"--eml=$$EML"}

# Make exports NAME=value to what it starts; a value with a dollar sign goes through the environment instead.
run: $(STAMP) ## Serve the app on 127.0.0.1:7071 until Ctrl-C (NAME=value for any setting)
	@$(BIN)/python -m shared.devkit run

test: $(STAMP) ## Run all tests but the README's
	@$(BIN)/python -m pytest --ignore=tests/readme

readme: $(STAMP) ## Walk the README's journey as it is written (needs bash, curl and jq)
	@$(BIN)/python -m pytest tests/readme

soak: $(STAMP) ## Refresh grants under random faults, kills and lost writes, and count what is lost (MINUTES=10)
	@$(BIN)/python -m shared.devkit soak --minutes $(or $(MINUTES),10) --instances 4

smoke: $(STAMP) ## Index the app with the engine and walk the journey (VENV=folder PYTHON=python3.12 for the other Python)
	@$(BIN)/python -m pytest tests/worker/test_app.py tests/devkit/test_demo.py

figures: $(STAMP) ## Print the style figures beside their budget
	@$(BIN)/python tests/architecture/figures.py

check: $(STAMP) ## Check style and types
	@echo "Checking style ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@echo "Checking types ..."
	@$(BIN)/mypy --no-error-summary

lock: ## Compile the pinned requirements from pyproject.toml again (needs uv; UPGRADE=1 takes newer versions)
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH." >&2; exit 2; }
	@echo "Compiling requirements.txt ..."
	@$(COMPILE) pyproject.toml -o requirements.txt
	@echo "Compiling shared/devkit/requirements.txt ..."
	@$(COMPILE) pyproject.toml --extra dev -c requirements.txt -o shared/devkit/requirements.txt

clean: ## Remove .venv, the development store and keys in .dev, and all caches
	@rm -rf $(VENV) .dev .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One file for every system and both Python versions; no address of an index gets into it.
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)

FITS = import ensurepip, sys, venv; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})

$(STAMP): $(LOCKS)
	@if $(BIN)/python -c '$(FITS)' 2>/dev/null; then exit 0; fi; \
	for python in $(PYTHON); do \
		if "$$python" -c '$(FITS)' 2>/dev/null; then \
			echo "Making $(VENV) with $$("$$python" --version) ..."; \
			exec "$$python" -m venv --clear $(VENV); \
		fi; \
	done; \
	echo "Python 3.11 or 3.12 with its venv module is needed; none was found as: $(PYTHON)." >&2; exit 2
	@echo "Installing the pinned packages (up to a minute the first time) ..."
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes -r shared/devkit/requirements.txt
	@echo "Installing the Functions engine ..."
	@$(BIN)/python -m pip install -qq --no-deps --require-hashes --ignore-requires-python -r shared/devkit/engine.txt
	@touch $@
