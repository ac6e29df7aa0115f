# Every target sets up what it needs inside this checkout (.uv, .venv) from the lock files.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# The tests start programs by the hundred: none compiles what was compiled before.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup check test test-torch test-all nightly demo bench bench-torch tables tables-torch vectors docs lock clean

setup: $(READY)

$(READY): requirements.lock requirements-uv.lock pyproject.toml
	@test -x .uv/bin/uv || { echo "setting up: uv, inside the checkout"; $(PYTHON) -m venv .uv \
	  && .uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock; }
	@test -x $(BIN)/python || .uv/bin/uv venv --quiet --python "$$(command -v $(PYTHON))" .venv
	@echo "setting up: the locked dependencies, inside the checkout"
	@.uv/bin/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@.uv/bin/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

check: setup
	$(BIN)/ruff check src tests bench
	$(BIN)/ruff format --check src tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_house.py

test: setup
	$(BIN)/python -m pytest -n 2 -m "not slow and not nightly"

# PyTorch in an environment of its own, so that nothing else is installed or tested with it.
TORCH := .venv-torch/bin
TORCH_READY := .venv-torch/.ready

$(TORCH_READY): $(READY) requirements-torch.txt
	@test -x $(TORCH)/python || .uv/bin/uv venv --quiet --python "$$(command -v $(PYTHON))" .venv-torch
	@echo "setting up: the locked dependencies and PyTorch, inside the checkout"
	@.uv/bin/uv pip sync --quiet --compile-bytecode --python $(TORCH)/python --require-hashes requirements.lock
	@.uv/bin/uv pip install --quiet --python $(TORCH)/python --no-deps --no-build-isolation --editable .
	@.uv/bin/python -m pip --python $(TORCH)/python install --quiet --disable-pip-version-check \
	  -r requirements-torch.txt
	@touch $(TORCH_READY)

test-torch: $(TORCH_READY)
	OMP_NUM_THREADS=1 $(TORCH)/python -m pytest tests/frameworks tests/learning/test_study.py

bench-torch: $(TORCH_READY)
	@OMP_NUM_THREADS=1 $(TORCH)/python -m bench.run --only torch

tables-torch: $(TORCH_READY)
	@OMP_NUM_THREADS=1 $(TORCH)/python -m bench.shakespeare

test-all: setup
	$(BIN)/python -m pytest -n 2 -m "not nightly"

# Alone on the machine, one after the other: needs 8 GB of disk and 8 GB of memory.
nightly: setup
	$(BIN)/python -m pytest -m nightly

demo: setup
	@$(BIN)/comity demo

bench: setup
	@$(BIN)/python -m bench.run

tables: setup
	@$(BIN)/python -m bench.tables

vectors: setup
	$(BIN)/python -m tests.vectors.make_vectors

docs: setup
	$(BIN)/python -m tests.make_docs

lock: setup
	.uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --extra demo --extra parquet --extra plot --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .venv-torch .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis
