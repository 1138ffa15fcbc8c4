# The few commands of this project. `make` lists them; each sets up what it needs first.

SHELL := /bin/bash
# A Rust that rustup has put into the home folder is found even where the shell does not look there.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-console conformance lint fuzz measure check compose-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and testing need (Rust, redis-server, Python, Node, Chromium)
	@scripts/setup rust redis python browser

run: ## run one gateway with the development profile: sockets on 127.0.0.1:8080, console on :8081
	@scripts/setup rust
	cargo run --release --locked -- run

test: setup conformance test-console ## run every test; those of the broker start Redis servers of their own
	cargo test --locked --doc
	cargo test --locked --tests

test-console: ## the console in a real browser; SCREENSHOTS=1 takes the pictures in docs/images as well
	@scripts/setup rust browser
	cargo build --locked
	cd console && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm test --silent

conformance: ## the socket layer against RFC 6455: all 301 Autobahn cases without compression
	@scripts/setup rust python
	@scripts/conformance

lint: ## formatting, clippy and the documentation, with warnings as errors
	@scripts/setup rust
	cargo fmt --check
	rustfmt --check --edition 2024 fuzz/targets/*.rs
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked --document-private-items
	@if command -v node >/dev/null; then node console/build.mjs --check; else echo 'no node: console/dist is not checked'; fi

measure: ## what sockets, deliveries, stalled readers and inflating cost; ten minutes (docs/performance.md)
	@scripts/setup rust redis
	cargo build --release --locked --bin emagine-gateway --example measure
	ulimit -n 20000; target/release/examples/measure 10000 20; target/release/examples/measure 1000 500; target/release/examples/measure 10000 10 deflate; target/release/examples/measure stalled; target/release/examples/measure inflate

fuzz: ## make up what peers, publishers and operators might send: each target for FUZZ_SECONDS=600 (docs/fuzzing.md)
	@scripts/fuzz

check: lint test ## all that must hold before a change goes in

compose-test: ## three replicas behind the balancer, with real clients; needs Docker
	@scripts/compose-test

clean: ## remove what was built
	cargo clean
