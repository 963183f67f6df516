# The front door: every target is complete on a bare machine with Python 3.10 or later.
PYTHON ?= python3
BIN := .venv/bin
DEMO_HOME := $(CURDIR)/.aiida-demo
DEMO := AIIDA_PATH=$(DEMO_HOME)

.PHONY: demo demo-profile test test-slow test-all test-ci engines validate lint bench fine-tuning npt clean

demo: demo-profile
	$(DEMO) $(BIN)/python examples/demo.py

# a profile of its own, in a folder of this clone; no other profile is touched
demo-profile: .venv/installed
	@mkdir -p $(DEMO_HOME)
	@$(DEMO) $(BIN)/verdi profile show demo >/dev/null 2>&1 || $(DEMO) $(BIN)/verdi presto -p demo --use-zeromq -n
	@$(DEMO) $(BIN)/verdi -p demo config set runner.poll.interval 1 >/dev/null 2>&1
	@$(DEMO) $(BIN)/verdi -p demo run examples/setup_demo.py

# one process per core, at most four: each takes the tests of whole folders, in the order of tests/conftest.py
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

test: .venv/installed
	$(PYTEST) -m "not slow"

test-slow: .venv/installed
	$(PYTEST) -m slow

# all of them, with what they share made once
test-all: .venv/installed
	$(PYTEST)

# what fits into forty minutes on two cores
test-ci: .venv/installed
	$(PYTEST) -m "not long"

# free DFT engines, for the tests and examples that run them; a test without its engine is skipped and says so.
# aiida-cp2k is not among the package's dependencies: one of its own may have to be compiled
ENGINE_PACKAGES := quantum-espresso quantum-espresso-data cp2k cp2k-data libopenblas0-openmp
engines: .venv/installed
	@if command -v pw.x >/dev/null && command -v cp2k.psmp >/dev/null; then true; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && apt-get install -q -y $(ENGINE_PACKAGES); \
	else echo "Quantum ESPRESSO or CP2K is missing: sudo apt-get install $(ENGINE_PACKAGES)"; fi
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,cp2k]'

# the sampler against exact distributions: a table with the negative controls, and figures
validate: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m physical_validation tests/physical_validation \
		--validation-table build/validation/table.md
	OMP_NUM_THREADS=1 $(BIN)/python tests/physical_validation/figures.py build/validation

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: demo-profile
	$(DEMO) $(BIN)/python benchmarks/cost_per_cycle.py

# each option of a fine-tuning against a baseline, what a selection of the labels saves, what force constants are worth,
# and the treatments of energy references; about an hour
FAST_MALLOC := MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=20000000000 MALLOC_TRIM_THRESHOLD_=20000000000 \
	MALLOC_TOP_PAD_=268435456
fine-tuning: .venv/installed
	for script in benchmarks/fine_tuning/options.py benchmarks/fine_tuning/selection.py benchmarks/phonon_fine_tuning.py \
		examples/energy_references.py; do OMP_NUM_THREADS=1 $(FAST_MALLOC) $(BIN)/python $$script || exit 1; done

# NPT against molecular dynamics, and training with stress against training without; about an hour
npt: demo-profile
	$(DEMO) $(BIN)/python benchmarks/npt.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .venv .aiida-demo
