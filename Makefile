# The few commands of this project. `make` lists them; each sets up what it needs first.

SHELL := /bin/bash
# A Rust that rustup has put into the home folder is found even where the shell does not look there. Where the system's
# Node is too old, scripts/setup puts a newer one into target/node.
export PATH := $(CURDIR)/target/node/bin:$(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-js test-console conformance lint fuzz bench measure compare-instructions check audit compose-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building and testing need (Rust, redis-server, Python, Node, Chromium, promtool)
	@scripts/setup rust redis python node chromium promtool snippets

run: ## run one gateway with the development profile (built quickly, not optimised)
	@scripts/setup rust
	cargo run --profile quick --locked -- run

test: setup conformance test-js test-console ## run every test; those of the broker start Redis servers of their own
	cargo test --locked --workspace --doc
	cargo test --locked --workspace --tests

test-js: ## the JavaScript client (clients/js): in Node, and in Chromium against a real gateway
	@scripts/setup rust redis node chromium
	cargo build --locked --bin emagine-gateway
	cd clients/js && { [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci; } && npm test

test-console: ## the console in a real browser; SCREENSHOTS=1 takes the pictures in docs/images as well
	@scripts/setup rust node chromium
	cargo build --locked --bin emagine-gateway
	cd console && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm test --silent

conformance: ## the socket layer against RFC 6455: all 301 Autobahn cases without compression
	@scripts/setup rust python
	@scripts/conformance

lint: ## formatting, clippy, the documentation and the alerts, with warnings as errors
	@scripts/setup rust node promtool
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/targets/*.rs
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items
	promtool check rules --lint-fatal deploy/prometheus/gateway.rules.yml
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/gateway.test.yml
	node console/build.mjs --check

bench: ## put a gateway under load beside the baseline: the tables of docs/performance.md, in under ten minutes
	@scripts/setup rust redis
	cargo build --release --locked --bin emagine-gateway
	@scripts/bench

measure: ## what it costs to receive compressed messages (docs/performance.md); for the rest see bench
	@scripts/setup rust
	cargo build --release --locked --bin emagine-gateway --example measure
	target/release/examples/measure 50000

compare-instructions: ## count instructions of the delivery path: BASE=main against the working tree, or HEAD=…
	@scripts/compare-instructions $(or $(BASE),main) $(HEAD)

fuzz: ## make up what peers, publishers and operators might send: each target for FUZZ_SECONDS=600 (docs/fuzzing.md)
	@scripts/fuzz

check: lint test ## all that must hold before a change goes in

audit: ## check the dependencies' licences, sources, bans and advisories (deny.toml); building cargo-deny takes minutes
	@scripts/setup rust audit
	cargo deny check --hide-inclusion-graph licenses sources bans
	@if cargo deny fetch db; then set -x && cargo deny --offline check advisories; \
	else echo "audit: advisories SKIPPED: the advisory database cannot be reached" >&2; fi

compose-test: ## three replicas behind the balancer, with real clients; needs Docker
	@scripts/compose-test

clean: ## remove what was built
	cargo clean
	rm -rf clients/js/dist
