# Everything runs in a virtual environment of its own, made from python3 (3.11 or newer).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Tests run in so many processes, each file in one of them, and all that share a training run.
WORKERS ?= 2
# Python compiles what it imports once, and not in each process, also where the environment forbids it to write byte code.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo operation test slow contract clients postgres postgres-short chaos bounds check format size reference bench scale soak clean wheel operate pages

install: $(STAMP)  ## make the virtual environment

$(STAMP): requirements-dev.txt pyproject.toml
	@echo "Installing the packages of requirements-dev.txt into $(VENV). This takes a minute or two."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --only-binary :all: -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

wheel: $(STAMP)  ## build the wheel into dist/
	$(BIN)/python -m hatchling build --target wheel

demo: $(STAMP)  ## simulate, train, promote, publish, serve and score, on embedded defaults
	$(BIN)/python docs/demo.py

operation: $(STAMP)  ## an operation of three administrations with three services, from the keys to the debriefing
	$(BIN)/python docs/operation.py

test: $(STAMP)  ## the tests, warnings as errors
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

slow: $(STAMP)  ## the long tests, and those of properties with more examples
	$(BIN)/python -m pytest -m "slow or hypothesis" --hypothesis-profile long

bounds: $(STAMP)  ## the kernel of goods over hostile texts, compiled with checks of bounds
	$(BIN)/python -m pytest -m slow tests/features/goods/test_kernels.py

contract: $(STAMP)  ## the service against its own OpenAPI document: 5,000 cases, and as many invalid bodies
	$(BIN)/python -m pytest -m slow tests/serving/http/test_contract.py

clients: $(STAMP)  ## clients of integrators against a running service: curl, Java, generated TypeScript and Python
	$(BIN)/python -m pytest -m slow -rs tests/serving/clients

# Every test whose subject reads or writes an event log.
WITH_A_LOG := event_log/ maintenance/ scoring/ shadow/ state/ encryption/ http/test_server.py \
	http/test_scores.py http/test_selections.py test_failures.py test_service.py test_standby.py

postgres: $(STAMP)  ## those tests with the event log in PostgreSQL: a private server, or the one of NPSRISK_TEST_POSTGRES
	.ci/with-postgres $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
		$(WITH_A_LOG:%=tests/serving/%)

# Those of them in which the database itself is the subject: its writer, its reader, what changes it, kills, takeovers.
OF_THE_LOG := event_log/ test_standby.py maintenance/test_backup.py maintenance/test_forgetting.py \
	test_failures.py::test_a_failing_database_is_told_and_it_goes_on \
	maintenance/test_chaos.py::test_takeovers_from_a_paused_and_a_killed_service_lose_nothing

postgres-short: $(STAMP)  ## the short form of continuous integration
	.ci/with-postgres $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
		$(OF_THE_LOG:%=tests/serving/%)

pages: $(STAMP)  ## the pages for officers in headless Chromium, by clicks and keys, with axe (which this installs); skipped with the reason without Chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: \
		--upgrade --target $(VENV)/axe -r requirements-axe.txt
	$(BIN)/python -m pytest -rs -m "slow or not slow" tests/operation/desk

operate: $(STAMP)  ## the files of deploy/ with the programs that read them (promtool is fetched from Debian; else skipped with the reason)
	.ci/operate $(BIN)/python -m pytest -rs tests/test_deploy.py tests/serving/telemetry/test_metrics.py

chaos: $(STAMP)  ## kill the service 200 times, let a standby take over 50 times, swap 50 models, under load; kill batches: CHAOS_KILLS, …
	$(BIN)/python -m pytest -m slow -s tests/serving/maintenance/test_chaos.py tests/cli/test_batch.py -k "not takes_over"
	POSTGRES_OPTIONAL=1 .ci/with-postgres $(BIN)/python -m pytest -m slow -s -rs \
		tests/serving/maintenance/test_chaos.py -k takes_over

check: $(STAMP)  ## format, lint, types, import rule, words, size
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/language.py
	$(BIN)/python tests/size.py

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

size: $(STAMP)  ## the lines of each package with its budget
	$(BIN)/python tests/size.py --rooms

reference: $(STAMP)  ## write the pages that are made from the code: columns, settings
	$(BIN)/npsrisk columns --markdown > docs/columns.part && mv docs/columns.part docs/columns.md
	$(BIN)/npsrisk config --markdown > docs/settings.part && mv docs/settings.part docs/settings.md

bench: $(STAMP)  ## the processor time of features and history
	$(BIN)/python -m benchmarks.features
	$(BIN)/python -m benchmarks.history

scale: $(STAMP)  ## features and scores on Dask workers, with kills; installs Dask; NPSRISK_TEST_SCALE_ROWS sets the rows (1,000,000)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-scale.txt
	$(BIN)/python -m pytest -rs -m "slow or not slow" tests/features/test_cluster.py tests/training/runs/test_large_tables.py

soak: $(STAMP)  ## half an hour at 1,000 a second, with outcomes and a new model each minute; wants two cores for itself
	$(BIN)/python -m benchmarks.soak

clean:  ## remove what these commands make
	rm -rf $(VENV) demo operation-run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
