# The commands of this project. `make` lists them. Each first installs what it needs.

SHELL := /bin/bash
# rustup installs into the home folder, which may not be in the PATH. scripts/setup installs a newer Node in target/node
# where that of the system is too old.
export PATH := $(CURDIR)/target/node/bin:$(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test test-js test-python test-console test-chat chat test-engines conformance lint fuzz bench million measure compare compare-instructions docs check audit compose-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the tools for building and testing (Rust, redis-server, Python, Node, Chromium, promtool, mdBook)
	@scripts/setup rust redis python node chromium promtool snippets mdbook chat

run: ## run a gateway with the development profile (not optimised, builds faster)
	@scripts/setup rust
	cargo run --profile quick --locked -- run

# A test waits for its servers most of the time, so twice as many run at once as there are cores.
test: export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc))))
test: setup conformance test-js test-python test-console test-chat ## run every test; the tests start their own Redis servers
	cargo test --locked --workspace --doc
	cargo test --locked --workspace --tests

test-js: ## test the JavaScript client (clients/js) in Node and Chromium against a real gateway
	@scripts/setup rust redis node chromium
	cargo build --locked --bin emagine-gateway
	cd clients/js && { [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci; } && npm test && npm run --silent reference

test-python: ## test the Python client (clients/python) with the conformance kit and against a real gateway
	@scripts/setup rust redis python
	cargo build --locked --bin emagine-gateway
	@scripts/test-python

test-console: ## test the console in Chromium; SCREENSHOTS=1 also takes the pictures in docs/images
	@scripts/setup rust redis node chromium
	cargo build --locked --bin emagine-gateway
	cd console && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm test --silent

chat: ## run the chat of examples/chat with a gateway and Redis, without Docker, at http://localhost:8000
	@scripts/setup rust redis node chat
	@examples/chat/run

test-chat: ## test the chat in Chromium; SCREENSHOTS=1 also takes the pictures in docs/images
	@scripts/setup rust redis node chromium chat
	cargo build --locked --bin emagine-gateway
	cd clients/js && { [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci; } && npm run --silent build
	node examples/chat/frontend/build.mjs
	node --test --test-reporter=spec --test-timeout=300000 examples/chat/test/chat.test.mjs

test-engines: ## run the tests of Redis on Redis 8 and Valkey too, as far as Debian's packages are in reach
	@scripts/setup rust redis
	@scripts/engines fetch
	@scripts/engines test

conformance: ## run the 517 Autobahn cases for RFC 6455 and RFC 7692 against the socket layer
	@scripts/setup rust python
	@scripts/conformance

lint: ## check formatting, clippy, the documentation, its book and the alerts, with warnings as errors
	@scripts/setup rust python node promtool mdbook
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/targets/*.rs
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items
	scripts/language --names
	scripts/book
	promtool check rules --lint-fatal deploy/prometheus/gateway.rules.yml
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/gateway.test.yml
	node console/build.mjs --check

docs: ## build the documentation as a book into target/book (mdBook), and check its links
	@scripts/setup mdbook
	@scripts/book

bench: ## take the figures of docs/performance.md: load tests with a baseline, under ten minutes
	@scripts/setup rust redis
	cargo build --release --locked --bin emagine-gateway
	@scripts/bench

million: ## hold a million sockets on this machine (MILLION_SOCKETS=…): docs/scaling.md, up to twenty minutes
	@scripts/setup rust redis
	cargo build --release --locked --bin emagine-gateway
	@scripts/million

measure: ## measure the cost of receiving compressed messages (docs/performance.md)
	@scripts/setup rust
	cargo build --release --locked --bin emagine-gateway --example measure
	target/release/examples/measure 50000

compare: ## measure other servers with the same load generator (docs/comparison.md): SERVERS="anycable=PROGRAM …"
	@scripts/setup rust redis python
	cargo build --release --locked --bin emagine-gateway
	@scripts/compare

compare-instructions: ## compare instruction counts of the delivery path: BASE=main with the working tree, or HEAD=…
	@scripts/compare-instructions $(or $(BASE),main) $(HEAD)

fuzz: ## fuzz all input of peers, publishers and operators: each target for FUZZ_SECONDS=600 (docs/fuzzing.md)
	@scripts/fuzz

check: lint test ## lint and test: required before a merge

audit: ## check the dependencies' licences, sources, bans and advisories (deny.toml); building cargo-deny takes minutes
	@scripts/setup rust audit
	cargo deny check --hide-inclusion-graph licenses sources bans
	@if cargo deny fetch db; then set -x && cargo deny --offline check advisories; \
	else echo "audit: advisories SKIPPED: the advisory database cannot be reached" >&2; fi

compose-test: ## test three replicas with the load balancer and real clients; needs Docker
	@scripts/compose-test

clean: ## remove build output
	cargo clean
	rm -rf clients/js/dist
