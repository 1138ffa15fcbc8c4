# The gateway's image: built in one stage, run in another that holds the binary and nothing to build with.

FROM rust:1-bookworm AS builder
WORKDIR /src

# The dependencies first, around an empty program, so that a change of the source does not compile them again.
# Tables that name files which are not there yet (benches, examples, tests) are left out of this first manifest.
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN cp Cargo.toml /tmp/Cargo.toml \
 && awk '/^\[/ { keep = !/^\[\[(bench|example|test)\]\]/ } keep' /tmp/Cargo.toml > Cargo.toml \
 && mkdir src && echo 'fn main() {}' > src/main.rs && echo '//! Empty.' > src/lib.rs \
 && cargo build --release --locked --bin emagine-gateway \
 && rm -r src

# Then the gateway itself. The copies keep their old times, and cargo compares times: touch what it must rebuild.
COPY . .
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin emagine-gateway

FROM debian:bookworm-slim
RUN groupadd --gid 10001 gateway \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir / --shell /usr/sbin/nologin gateway
# Certificate authorities, for rediss:// brokers.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder /src/target/release/emagine-gateway /usr/local/bin/emagine-gateway

# The production profile refuses to start without a secret and allowed origins, and says which is missing.
ENV GATEWAY_PROFILE=production
USER 10001:10001
# 8080: WebSockets, for the balancer. 8081: publishing, health and metrics; keep it inside the network.
EXPOSE 8080 8081
# Liveness only: readiness is the balancer's question (/readyz), and no reason to call a container broken.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["emagine-gateway", "health"]
# Exec form: the gateway is process 1 and gets the SIGTERM that starts its drain.
STOPSIGNAL SIGTERM
ENTRYPOINT ["emagine-gateway"]
