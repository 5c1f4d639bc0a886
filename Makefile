# Every task a person does here. `make help` lists them; each line comes from the `##` after a target.

ARGS ?=
PREFIX ?= /usr/local
DESTDIR ?=

# Kernels to test on, as scripts/kernels has them; all if none is named.
KERNELS ?=

# Where images go, under which tag, and what else `igx image push` and `cosign sign` are told.
REGISTRY ?=
TAG ?= latest
PUSH_ARGS ?=
SIGN_ARGS ?=
# Folder of what is handed out.
DIST ?= dist
# The static binaries that the runner's image is made of, one an architecture; if none is named, one is built.
BINARIES ?=

RUST := scripts/rust
# IGX=path takes that binary where otherwise one is built.
ifndef IGX
IGX := target/release/igx
BUILD := build
endif
export IGX DIST
C_FILES := $(shell find bpf examples tests runner/src/cli/image/new -name '*.[ch]' ! -name 'vmlinux*.h')
SCRIPTS := $(shell grep -lsE '^\#!.*sh$$' .ci/run scripts/*)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build dist run test test-dist test-kernels bench image runner-image push sign install mutants fuzz lint fmt deny need-root

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install with apt what building and testing need and is missing
	@scripts/setup build test lint

build: ## Build target/release/igx
	@scripts/setup build
	$(RUST) cargo build --release --locked --package runner --bin igx

dist: ## Build dist/igx, one static stripped binary that runs on any Linux
	@scripts/setup build dist
	scripts/dist

run: need-root build ## Show host names asked for on this machine; takes ARGS="-o json"
	@$(IGX) run trace_sni --host $(ARGS)

test: need-root ## Run every test that this machine can run
	@scripts/setup build test
	@scripts/peers
	$(RUST) cargo test --workspace --locked --no-run
	$(RUST) cargo build --workspace --locked
	$(RUST) --root cargo test --workspace --locked $(ARGS)

test-dist: need-root dist ## Run the end-to-end tests with dist/igx, which has another C library and allocator
	@scripts/peers
	IGX_BINARY=$(CURDIR)/dist/igx $(RUST) --root cargo test --package runner --test e2e --locked $(ARGS)

test-kernels: ## Run what depends on the kernel on others, in machines of their own; takes KERNELS="5.10 6.12"
	@scripts/setup build vm
	@scripts/test-kernels $(KERNELS)

bench: need-root dist ## Measure start-up, memory, events and packets, and write docs/benchmarks.md
	@scripts/bench $(ARGS)

image: $(BUILD) ## Build the trace_sni image from this tree into the local store
	$(IGX) image build . -t trace_sni:latest $(ARGS)

runner-image: $(if $(BINARIES),,dist) ## Assemble the image of igx itself from dist/igx, or from BINARIES
	scripts/runner-image localhost/igx:latest $(or $(BINARIES),dist/igx)

push: ## Push both images to REGISTRY=host/path; takes TAG, PUSH_ARGS
	@scripts/push "$(REGISTRY)" "$(TAG)" $(PUSH_ARGS)

sign: ## Sign with cosign what was pushed; takes COSIGN_KEY, SIGN_ARGS
	@scripts/sign $(SIGN_ARGS)

install: ## Install igx, completions and man pages under PREFIX, put after DESTDIR
	@scripts/install "$(DESTDIR)" "$(PREFIX)"

mutants: need-root ## Take vital parts out, one at a time; demand that tests notice
	@scripts/setup build test
	@scripts/mutants

fuzz: ## Fuzz every target for a minute in all; takes ARGS="TARGET SECONDS"
	@scripts/setup build
	@scripts/fuzz $(ARGS)

lint: ## Check formatting, clippy, scripts and that the mutants apply
	@scripts/setup build lint
	$(RUST) cargo fmt --all --check
	$(RUST) cargo fmt --manifest-path fuzz/Cargo.toml --check
	$(RUST) cargo clippy --workspace --all-targets --locked -- -D warnings
	$(RUST) cargo clippy --package gadget --locked -- -D warnings
	$(RUST) cargo clippy --package runner --no-default-features --all-targets --locked -- -D warnings
	clang-format-16 --dry-run -Werror $(C_FILES)
	shellcheck $(SCRIPTS)
	@scripts/actionlint
	@scripts/mutants check

fmt: ## Format Rust and C
	@scripts/setup build lint
	$(RUST) cargo fmt --all
	$(RUST) cargo fmt --manifest-path fuzz/Cargo.toml
	clang-format-16 -i $(C_FILES)

deny: ## Check licences and advisories of dependencies (asks the network)
	@$(RUST) cargo deny --version >/dev/null 2>&1 || $(RUST) cargo install --locked cargo-deny
	$(RUST) cargo deny check

need-root:
	@test "$$(id -u)" = 0 || { \
		echo "make $(firstword $(MAKECMDGOALS)) needs root: try 'sudo make $(MAKECMDGOALS)'" >&2; exit 1; }
