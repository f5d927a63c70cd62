# Everything that a developer runs. `make` alone prints the list.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Where `make run` keeps its state, and what it passes on to the server: `make run DATA_DIR=/srv/sandtree ARGS='--listen 127.0.0.1:9000'`.
DATA_DIR ?= $(or $(SANDTREE_SERVER__DATA_DIR),./data)
ARGS ?=

# rustup puts cargo here, which a fresh shell does not know yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# The server and the docker command have to talk to the same engine.
ifdef SANDTREE_DOCKER__HOST
export DOCKER_HOST := $(SANDTREE_DOCKER__HOST)
endif

# In CI, a lock file that does not match Cargo.toml is an error.
LOCKED := $(if $(CI),--locked)

.PHONY: help run test soak check docs fmt bench images engine tools clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: images ## Set everything up, build and start the server (DATA_DIR=./data, ARGS='--listen ...')
	cargo build --release $(LOCKED)
	@SANDTREE_SERVER__DATA_DIR='$(DATA_DIR)' exec scripts/run target/release/sandtree $(ARGS)

test: images ## Set everything up and run all tests
	@scripts/ensure-browser
	cargo test --workspace --doc $(LOCKED)
	@if cargo nextest --version >/dev/null 2>&1; then set -x; cargo nextest run --workspace $(LOCKED); \
	else set -x; cargo test --workspace --lib --bins --tests $(LOCKED); fi

# What `make test` has a tenth of. Each number can be set: `make soak SANDTREE_SOAK_KILLS=1000`.
soak: export SANDTREE_SOAK_KILLS ?= 300
soak: export SANDTREE_SOAK_PROJECTS ?= 50
soak: export SANDTREE_SOAK_SECONDS ?= 1200
soak: export SANDTREE_SOAK_DIALECTS_SECONDS ?= 600
soak: export SANDTREE_SOAK_AWAY_SECONDS ?= 60
soak: export SANDTREE_SOAK_REPORT := $(CURDIR)/docs/benchmarks/soak.md
soak: images ## All images, then kill the server 300 times and at every crash point, then 20 minutes of load with faults and 10 by all dialects
	images/build --all
	SANDTREE_ALL_IMAGES=1 cargo test --locked --test it -- --test-threads 1 bharatbuild::images daiv::languages
	cargo test --locked --test it private_engine -- --test-threads 1
	cargo test --locked --test soak -- --nocapture --test-threads 1

check: tools ## Check format, lints, documentation, licences and scripts
	cargo fmt --all --check
	SANDTREE_SKIP_INIT=1 cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	SANDTREE_SKIP_INIT=1 RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps $(LOCKED)
	@if ! cargo deny --version >/dev/null 2>&1; then echo 'cargo-deny is not installed: licences and advisories are not checked'; \
	else cargo deny check bans licenses sources || exit 1; \
		if timeout 60 cargo deny fetch db 2>/dev/null; then cargo deny check --disable-fetch advisories; \
		else echo 'the advisory database cannot be reached: advisories are not checked'; fi; fi
	@if command -v shellcheck >/dev/null; then git grep -lE '^#!.*\bbash$$' | xargs -t shellcheck; \
	else echo 'shellcheck is not installed: scripts are not checked'; fi

docs: ## Generate docs/LIFECYCLE.md from its table
	SANDTREE_WRITE_DOCS=1 cargo test --quiet --package sandtree-model --lib lifecycle

fmt: ## Format the code
	cargo fmt --all

bench: images ## Measure everything beside the engine and its peers, and write docs/benchmarks
	@scripts/ensure-peers
	cargo bench $(LOCKED) --bench report

images: engine ## Build the sandbox images that are missing or whose recipe changed
	@images/build

engine: tools ## Make sure that a Docker engine answers
	@scripts/ensure-engine

tools: ## Make sure that what the build and the tests need is installed
	@scripts/ensure-tools

clean: ## Remove what the build made; data and images stay
	cargo clean
