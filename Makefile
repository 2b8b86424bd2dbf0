# Two commands do everything: `make quickstart` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup quickstart test test-slow results lint lock clean
.DELETE_ON_ERROR:

setup: $(READY)

# The environment is pinned by requirements.lock; uv lives inside it, so nothing outside is touched.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q -j 0 .venv/lib > /dev/null || true  # halves the start of every job
	touch $(READY)

quickstart: $(READY)
	$(BIN)/zoo sweep quickstart

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# The committed comparison and the README's table, from the runs of `make quickstart` on this machine.
results: quickstart
	$(BIN)/zoo compare runs/quickstart -o results/quickstart --archive
	$(BIN)/python results/embed.py README.md results/quickstart/table.md

lint: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy

# No address of a registry enters the lock file.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra search --extra cluster --upgrade \
	    --no-emit-index-url --no-header --no-annotate -o requirements.lock pyproject.toml

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache
