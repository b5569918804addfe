# `make help` lists the targets. Everything that takes more than a line is a script in tests/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo demo-stop build install install-files check test test-all soak sqlsmith mutations lint fuzz bench clean

# Which PostgreSQL: pg_config on the PATH, else the newest of Debian's.
PG_CONFIG ?= $(shell . tests/lib/common.sh && find_pg_config)
# Cargo's profile for `build` and `install`.
PROFILE ?= release
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
# rustup's folder, which only login shells have on their PATH.
export PATH := $(PATH):$(HOME)/.cargo/bin

library = $(CARGO_TARGET_DIR)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/libacumatica_fdw.so
pkglibdir = $(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)
extensiondir = $(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/extension

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'
	@echo
	@echo "  PG_CONFIG=/path/to/pg_config   the PostgreSQL to build for: $(or $(PG_CONFIG),none found)"
	@echo "  PROFILE=release|dev            cargo's profile: $(PROFILE)"
	@echo "  DESTDIR=                       put before the paths of install"

demo: ## install what is missing, build, start a private cluster and the simulator, and show the extension
	@tests/demo.sh start

demo-stop: ## stop the demo's cluster and simulator
	@tests/demo.sh stop

check: ## what each change must pass, in two minutes: lint, unit tests, the SQL suite on one PostgreSQL
	@CHECK=1 tests/run.sh

test: ## everything: lint, unit tests, SQL and end-to-end suites, the most telling of them on all PostgreSQL versions
	@tests/run.sh

test-all: ## every suite on every PostgreSQL version, 15 to 18
	@ALL=1 E2E_TIMEOUT=$(or $(E2E_TIMEOUT),1200) tests/run.sh

soak: ## random queries on foreign tables and local copies, QUERIES=200000 in all
	@TESTS=e2e/differential E2E_TIMEOUT=$(or $(E2E_TIMEOUT),86400) \
	  QUERIES=$$(($(or $(QUERIES),200000) / $(words $(or $(DIALECTS),1 2 3 4 5)))) tests/run.sh

sqlsmith: ## queries of the fuzzer sqlsmith on foreign tables, QUERIES=20000
	@tests/sqlsmith.sh

lint: ## rustfmt, clippy, shellcheck, licences
	@tests/lint.sh

fuzz: ## fuzz the parsers of what servers send, SECONDS_EACH=60
	@crates/client/fuzz/run.sh $(or $(SECONDS_EACH),60)

mutations: ## switch rules of pushdown off, one at a time: the test of each must fail, RULES=regex for some of them
	@tests/mutations.sh

bench: ## run the benchmarks
	@tests/bench.sh

build: check-pg-config ## build the extension for PG_CONFIG
	@. tests/lib/common.sh && pg_cargo "$(PG_CONFIG)" build --profile $(PROFILE)

install: build install-files ## build and install into PG_CONFIG's PostgreSQL

# Apart from `install`, so that root can install what an ordinary user has built: root need not have cargo.
install-files: check-pg-config
	@test -e "$(library)" || { echo "error: $(library) is not there: run make build PROFILE=$(PROFILE)" >&2; exit 1; }
	@for d in "$(pkglibdir)" "$(extensiondir)"; do \
	  [ -n "$(DESTDIR)" ] || [ -w "$$d" ] || { \
	    echo "error: no permission to write to $$d. It is built; to install it:" >&2; \
	    echo "  sudo make install-files PG_CONFIG=$(PG_CONFIG) PROFILE=$(PROFILE) CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)" >&2; \
	    exit 1; }; done
	install -d "$(pkglibdir)" "$(extensiondir)"
	install -m 0755 "$(library)" "$(pkglibdir)/acumatica_fdw.so"
	install -m 0644 acumatica_fdw.control $(wildcard sql/acumatica_fdw--*.sql) "$(extensiondir)/"

.PHONY: check-pg-config
check-pg-config:
	@test -x "$$(command -v "$(PG_CONFIG)")" || { echo "error: no pg_config of a PostgreSQL server found; set PG_CONFIG=/path/to/pg_config" >&2; exit 1; }

clean: ## stop the demo and remove everything that was built
	@tests/demo.sh remove
	cargo clean
