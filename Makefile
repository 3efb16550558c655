# The two commands of the README: `make demo` and `make test`. Each makes the environment first if there is none.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

# Real input for tests and benchmarks, where it lies beside the checkout.
ifneq ($(wildcard ../shared/data/README.md),)
export CURATE_DATA ?= $(abspath ../shared/data)
endif
export UV_PYTHON_DOWNLOADS = never

.PHONY: demo test check audit docs torture clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.run  ## Run the main job on the sample, and blend textbooks out of a ledger; offline.
	$(BIN)/curate run recipes/quickstart.toml
	$(BIN)/curate run recipes/written.toml

test: $(VENV)/.dev  ## Pass the tests.
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev  ## Lint, types, and whether the generated pages are current.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m cogapp --check docs/*.md README.md

audit: $(VENV)/.dev  ## Ask OSV whether a vulnerability of a locked package is known, where it can be reached.
	$(BIN)/python infra/audit.py

docs: $(VENV)/.dev  ## Write the generated parts of the documentation again.
	$(BIN)/python -m cogapp -r docs/*.md README.md

torture: $(VENV)/.dev  ## Kill a hundred runs at random moments, and see that each ends with the same bytes: half an hour.
	PYTHONPATH=. $(BIN)/python -m benchmarks.torture --kills 100

clean:  ## Remove the environment, and what the demo made.
	rm -rf $(VENV) recipes/work recipes/releases

# uv where it is found, else venv and pip; the stamp says that it is done for this pyproject.toml.
$(VENV)/.run: pyproject.toml
	$(call install,.)

$(VENV)/.dev: pyproject.toml
	$(call install,.[dev])
	@touch $(VENV)/.run

define install
	@if command -v uv >/dev/null 2>&1; then \
	  test -x $(BIN)/python || uv venv --seed --quiet --python $(PYTHON) $(VENV); \
	  uv pip install --quiet --python $(BIN)/python --editable '$(1)'; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '$(1)'; \
	fi
	@touch $@
endef
