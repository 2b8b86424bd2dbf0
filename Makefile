# Two commands do everything: `make quickstart` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup quickstart test test-slow mutations quick lint format docs results papers bench peers lock vendor clean
.DELETE_ON_ERROR:

setup: $(READY)

# The environment is pinned by requirements.lock; uv lives inside it, so nothing outside is touched.
$(READY): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --python $(BIN)/python -r requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m compileall -q -j 0 .venv/lib zoo > /dev/null || true  # halves the start of every job
	touch $(READY)

quickstart: $(READY)
	$(BIN)/zoo sweep quickstart

test: lint
	$(BIN)/python -m pytest

# For every save: lint, types, and the tests of the files changed since the last commit (of the core if none has).
quick: lint
	$(BIN)/python scripts/quick.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation site, into site/; a broken link or reference fails.
docs: $(READY)
	$(BIN)/mkdocs build --strict

# The slow tests of Slurm start a Slurm on this machine, installed here by root; without it they are skipped.
SLURM := slurmctld slurmd slurm-client munge
test-slow: $(READY)
	@command -v slurmctld > /dev/null || test "$$(id -u)" != 0 || ! command -v apt-get > /dev/null || \
	    { apt-get -qq update && apt-get -qq install -y $(SLURM); } > /dev/null || true
	$(BIN)/python -m pytest -m slow

# Break the most important lines one at a time; a test must notice each.
mutations: $(READY)
	$(BIN)/python scripts/mutations.py --report results/mutations.md

# The committed comparison and the tables of the README and docs, made from the runs of `make quickstart`.
EMBED := $(BIN)/python scripts/embed.py
results: quickstart
	$(BIN)/zoo compare runs/quickstart -o results/quickstart --archive
	$(BIN)/python scripts/sweep_seconds.py sweeps/quickstart.yaml runs/quickstart
	$(BIN)/python scripts/readme_tables.py
	$(EMBED) README.md results/readme/families.md
	$(EMBED) docs/choosing.md results/readme/undecided.md
	$(EMBED) docs/results.md results/quickstart/summary.md results/readme/slide.md results/claims/verdicts.md results/toys/kinds.md

# The status of every cell of the papers' tables, from the committed records, and the tables of docs/reproduction.md.
papers: $(READY)
	$(BIN)/zoo reproduce list -o results/papers
	$(EMBED) docs/reproduction.md results/papers/verdicts.md results/papers/reasons.md results/papers/overview.md

# All benchmarks, one after another, and the tables of their results; about half an hour on a quiet machine.
# A failure is reported at the end and does not stop the others.
LIBRARIES := __main__ aims cases common floors jobs leads measured other_cases report restarts speed_tables suite table
BENCHMARKS := $(filter-out $(LIBRARIES:%=benchmarks/%.py),$(wildcard benchmarks/*.py))
bench: $(READY)
	@failed=; for script in $(BENCHMARKS); do \
	    echo "== $$script"; OMP_NUM_THREADS=1 $(BIN)/python $$script || failed="$$failed $$script"; \
	done; \
	$(BIN)/python -m benchmarks || failed="$$failed benchmarks"; \
	$(BIN)/python benchmarks/table.py || failed="$$failed benchmarks/table.py"; \
	for name in whole jobs simulation assumptions; do \
	    $(BIN)/python scripts/embed.py docs/scaling.md results/scaling/$$name.md || failed="$$failed $$name.md"; \
	done; \
	$(EMBED) docs/claims.md results/benchmarks/jacobi.md || failed="$$failed jacobi.md"; \
	$(EMBED) docs/results.md results/benchmarks/peers/best.md results/benchmarks/peers/aims.md || failed="$$failed peers"; \
	$(EMBED) docs/results.md results/benchmarks/peers/growth.md || failed="$$failed growth"; \
	$(EMBED) docs/speed.md results/benchmarks/speed/loop.md results/benchmarks/speed/ddp.md results/benchmarks/speed/startup.md results/benchmarks/speed/quickstart.md results/studies/quickstart_before.md results/benchmarks/speed/ideas.md results/benchmarks/speed/leads.md results/benchmarks/speed/gpu.md || failed="$$failed speed"; \
	if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

# The libraries that `python -m benchmarks` compares with and that nothing else needs, after `make setup`.
peers: $(READY)
	$(BIN)/uv pip install --python $(BIN)/python --editable '.[benchmarks]'

# The lock file contains no address of a registry.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra search --extra cluster \
	    --extra workspace --extra tables --upgrade --no-emit-index-url --no-header --no-annotate -o requirements.lock pyproject.toml

# The JavaScript libraries of scripts/vendor.json, packed again from npm; commit what changes.
vendor: $(READY)
	$(BIN)/python scripts/vendor.py

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache
