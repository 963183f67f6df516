# The front door: every target is complete on a bare machine with Python 3.10 or later.
PYTHON ?= python3
BIN := .venv/bin
DEMO_HOME := $(CURDIR)/.aiida-demo
DEMO := AIIDA_PATH=$(DEMO_HOME)

.PHONY: demo demo-profile demo-production production-profile clean-production
.PHONY: test test-slow test-all test-ci engines validate lint bench fine-tuning npt study docs clean

demo: demo-profile
	$(DEMO) $(BIN)/python examples/demo.py

# a profile of its own, in a folder of this clone; no other profile is touched
demo-profile: .venv/installed
	@mkdir -p $(DEMO_HOME)
	@$(DEMO) $(BIN)/verdi profile show demo >/dev/null 2>&1 || $(DEMO) $(BIN)/verdi presto -p demo --use-zeromq -n
	@$(DEMO) $(BIN)/verdi -p demo config set runner.poll.interval 1 >/dev/null 2>&1
	@$(DEMO) $(BIN)/verdi -p demo run examples/setup_demo.py

# the same demo on PostgreSQL and RabbitMQ, by a daemon of several workers, and whether it decides as `make demo` does;
# the servers are those of these variables, and the database one of this clone
WORKERS ?= 3
export PGHOST ?= 127.0.0.1
export PGPORT ?= 5432
export PGUSER ?= postgres
export PGPASSWORD ?= postgres
RABBITMQ_HOST ?= 127.0.0.1
RABBITMQ_PORT ?= 5672
RABBITMQ_USER ?= guest
RABBITMQ_PASSWORD ?= guest
DATABASE := slhmc_demo_$(firstword $(shell echo "$(CURDIR)" | cksum))
# the daemon looks for `verdi` on the path
PRODUCTION := $(DEMO) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/verdi -p production
demo-production: production-profile
	$(DEMO) $(BIN)/python examples/demo.py --daemon --profile production --folder build/demo-production
	$(PRODUCTION) daemon stop
	@if test -e build/demo/chain.csv; then cmp build/demo/chain.csv build/demo-production/chain.csv && \
		echo "every decision is that of make demo, to the last digit"; \
	else echo "after make demo this compares the decisions of both"; fi

CACHED := slhmc.mace_proposal vasp.vasp
production-profile: .venv/installed
	@mkdir -p $(DEMO_HOME)
	@$(DEMO) $(BIN)/verdi profile show production >/dev/null 2>&1 || { \
		dropdb --if-exists $(DATABASE) && createdb --template template0 --encoding UTF8 --locale C.UTF-8 $(DATABASE) && \
		$(DEMO) $(BIN)/verdi profile setup core.psql_dos -n --no-set-as-default -p production --email you@example.org \
			--first-name Demo --last-name User --institution none --broker none \
			--database-hostname $(PGHOST) --database-port $(PGPORT) --database-name $(DATABASE) \
			--database-username $(PGUSER) --database-password "$(PGPASSWORD)" \
			--repository-uri file://$(DEMO_HOME)/repository-production; }
	@$(DEMO) $(BIN)/verdi profile show production | grep -q rabbitmq || \
		$(DEMO) $(BIN)/verdi profile configure-broker core.rabbitmq -n -f production \
			--broker-host $(RABBITMQ_HOST) --broker-port $(RABBITMQ_PORT) \
			--broker-username $(RABBITMQ_USER) --broker-password "$(RABBITMQ_PASSWORD)"
	@$(PRODUCTION) config set runner.poll.interval 1 >/dev/null
	@$(PRODUCTION) config set daemon.timeout 60 >/dev/null
	@for name in $(CACHED); do \
		$(PRODUCTION) config set --append caching.enabled_for aiida.calculations:$$name >/dev/null; done
	@$(PRODUCTION) run examples/setup_demo.py
	@$(PRODUCTION) daemon start $(WORKERS)

# the profile with its data, and the database
clean-production:
	$(PRODUCTION) daemon stop
	$(DEMO) $(BIN)/verdi profile delete --force --delete-data production
	dropdb --if-exists $(DATABASE)

# one process more than cores, because some tests wait for daemons and servers, at most four: each takes the tests of
# whole folders, in the order of tests/conftest.py
PROCESSES := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
PYTEST := $(BIN)/pytest --numprocesses $(PROCESSES) --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

test: .venv/installed
	$(PYTEST) -m "not slow"

test-slow: .venv/installed
	$(PYTEST) -m slow

# all of them, with what they share made once
test-all: .venv/installed
	$(PYTEST)

# what fits into forty minutes on two cores
test-ci: .venv/installed
	$(PYTEST) -m "not long" --durations 40 --durations-min 20

# free DFT engines, for the tests and examples that run them, a browser for the tests of the report, and the servers of a
# production profile, which the crash tests run for themselves; a test without its engine or server is skipped and says
# so.
# aiida-cp2k is not among the package's dependencies: one of its own may have to be compiled
ENGINE_PACKAGES := quantum-espresso quantum-espresso-data cp2k cp2k-data libopenblas0-openmp chromium \
	postgresql rabbitmq-server
# not on the path of everybody
SERVERS := /usr/lib/postgresql/*/bin/postgres /usr/lib/rabbitmq/bin/rabbitmq-server
engines: .venv/installed
	@if command -v pw.x >/dev/null && command -v cp2k.psmp >/dev/null && \
		command -v chromium >/dev/null && ls $(SERVERS) >/dev/null 2>&1; then true; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -q && apt-get install -q -y $(ENGINE_PACKAGES); \
	else echo "an engine, the browser or a server is missing: sudo apt-get install $(ENGINE_PACKAGES)"; fi
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,cp2k]'

# the sampler against exact distributions: a table with the negative controls, and figures
validate: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest -m physical_validation tests/physical_validation \
		--validation-table build/validation/table.md
	OMP_NUM_THREADS=1 $(BIN)/python tests/physical_validation/figures.py build/validation

docs: .venv/installed
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

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

# the paper's study in miniature, on the stand-in's functionals: build/study
study: demo-profile
	$(DEMO) $(BIN)/verdi -p demo run examples/rutile_study.py

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .venv .aiida-demo
