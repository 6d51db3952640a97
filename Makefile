# BioScope GQL. `make demo` shows it, `make test` judges it; both need Python 3.11 or newer, and nothing else.
#
#   make demo IMAGES=dir ONCE=1 PORT=n DATA_DIR=d    your own pictures; end after the table; where to listen and keep data
#   make test ARGS='-k runs -x'                      whatever pytest takes
#   PYTHON=python3.12 make test                      with this interpreter

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo dev web test check format schema bench bench-reads docs up down lock services services-down test-services
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check --no-input

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 22

demo: .venv/.runtime .venv/.web ## everything on this machine: pictures classified before your eyes, then it serves
	@set --; \
	[ -z "$$IMAGES" ] || set -- "$$@" --images "$$IMAGES"; \
	case "$$ONCE" in ''|0|no|false) ;; *) set -- "$$@" --once ;; esac; \
	[ -z "$$PORT" ] || set -- "$$@" --port "$$PORT"; \
	[ -z "$$DATA_DIR" ] || set -- "$$@" --data-dir "$$DATA_DIR"; \
	exec $(PY) -m bioscope_gql demo "$$@"

dev: .venv/.runtime .venv/.web ## everything on this machine, serving until you press Ctrl-C
	@set --; \
	[ -z "$$PORT" ] || set -- "$$@" --port "$$PORT"; \
	[ -z "$$DATA_DIR" ] || set -- "$$@" --data-dir "$$DATA_DIR"; \
	exec $(PY) -m bioscope_gql dev "$$@"

web: .venv/.runtime ## builds the explorer anew; make demo and make dev do it once
	@$(PY) tools/build_web.py

test: .venv/.dev .venv/.moto ## says yes or no: behaviour, types, lint, formatting, printed contracts
	@exec $(PY) -m pytest --numprocesses auto --dist load $(ARGS)

services: ## a real Kafka and a real MinIO on loopback (once: installs them, which takes minutes)
	@services/kafka.sh start
	@services/minio.sh start

services-down: ## end those two and forget what they hold
	@services/kafka.sh wipe
	@services/minio.sh wipe

test-services: .venv/.dev ## the tests of runs, storage and faults again, with those two
	@exec services/test.sh $(ARGS)

check: .venv/.dev ## types, lint and formatting only
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy

format: .venv/.dev ## put the code into shape
	@$(PY) -m ruff check --fix-only --quiet
	@$(PY) -m ruff format

# A file is replaced when what it should hold is there as a whole.
replace = > $(1).new && mv $(1).new $(1) || { rm -f $(1).new; exit 1; }

schema: .venv/.runtime ## write schema.graphql and asyncapi.yaml from the code
	@$(PY) -m bioscope_gql schema $(call replace,schema.graphql)
	@$(PY) -m bioscope_gql asyncapi $(call replace,asyncapi.yaml)

docs: schema ## write all that is generated: those two and bioscope.example.yaml
	@$(PY) -c 'import sys; from bioscope_gql.setting_example import example; sys.stdout.write(example())' \
	$(call replace,bioscope.example.yaml)

bench: .venv/.dev ## measure, each time beside a floor of the same work
	@set -e; for each in pipeline queries logins door live; do echo "== $$each"; $(PY) bench/$$each.py; done

BENCH_DIR ?= /tmp/bioscope-bench

bench-reads: .venv/.dev ## every list, filter and figure among 500,000 pictures (made once, in BENCH_DIR: 3 GB)
	@test -d $(BENCH_DIR)/large || $(PY) bench/data.py $(BENCH_DIR)/large
	@test -d $(BENCH_DIR)/small || $(PY) bench/data.py $(BENCH_DIR)/small 5000
	@$(PY) bench/reads.py $(BENCH_DIR)/large $(BENCH_DIR)/small

up: .env ## the production stack in containers: PostgreSQL, Kafka, S3, the server, a worker
	@docker compose up --build --detach --wait

down: ## stop those containers; their data stays
	@docker compose down

.env: .env.example
	@if [ -e .env ]; then echo '.env is older than .env.example: compare the two, then `touch .env`.' >&2; exit 1; fi
	@umask 077; while IFS= read -r line; do case "$$line" in \
	*_PASSWORD=|*_SECRET=) line=$$line$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n') ;; esac; \
	printf '%s\n' "$$line"; done < .env.example > .env
	@echo 'Wrote .env with new passwords. Keep it: the databases are made with them.'

lock: ## resolve the dependencies anew (needs uv); commit what changed
	@command -v uv > /dev/null || { echo 'make lock needs uv: install it, for example with pipx.' >&2; exit 1; }
	@set -e; for kind in '' otel dev; do \
	out=requirements$${kind:+-$$kind}.lock; \
	case $$kind in otel) more='--extra otel';; dev) more='--group dev';; *) more='';; esac; \
	uv pip compile pyproject.toml --group build $$more $${more:+--constraint requirements.lock} \
	--universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links $(LOCK) --quiet --output-file $$out > /dev/null; done; \
	uv pip compile --group moto --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links $(LOCK) --quiet --output-file requirements-moto.lock > /dev/null

# ------------------------------------------------------------------------------------ the environment
# Interpreters are chosen by running them: a pyenv shim may exist and fail, Debian's python3 may lack venv.
FIT := import ensurepip, ssl, sys, venv; sys.exit(sys.version_info < (3, 11))
SAME := import sys; print(sys.version, sys.base_prefix)

ifneq ($(PYTHON),)
ifneq ($(shell $(PY) -c '$(SAME)' 2>/dev/null),$(shell "$(PYTHON)" -c '$(SAME)' 2>/dev/null || echo unfit))
.PHONY: $(PY)
endif
endif

$(PY):
	@if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- python3 python3.13 python3.12 python3.11; fi; \
	for python; do \
		if "$$python" -c '$(FIT)' > /dev/null 2>&1; then \
			rm -rf .venv; "$$python" -m venv .venv && exit 0; \
			rm -rf .venv; exit 1; \
		fi; \
	done; \
	if [ -n "$$PYTHON" ]; then echo "$$PYTHON is no Python 3.11 or newer with the venv module; name another one, or leave PYTHON out." >&2; \
	else echo 'BioScope needs Python 3.11 or newer with the venv module: install it (Debian and Ubuntu: apt install python3 python3-venv), or name it with PYTHON=/path/to/python3.' >&2; fi; \
	exit 1

.venv/.runtime: requirements.lock pyproject.toml $(PY)
	@echo 'Installing what BioScope needs into .venv (once; about a minute) ...'
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Without npm and without a network the explorer is missing, and everything else works.
.venv/.web: web/package-lock.json .venv/.runtime
	@$(PY) tools/build_web.py || echo 'The explorer is missing; make web tries again. Everything else works.' >&2
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.runtime
	@echo 'Installing what its tests need ...'
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

# An S3 server for the tests; apart, because its libraries and ours exclude one another.
.venv/.moto: requirements-moto.lock .venv/.dev
	@$(PY) -m venv --clear .venv/moto
	@$(PIP) --python .venv/moto/bin/python install --require-hashes --requirement requirements-moto.lock
	@touch $@
