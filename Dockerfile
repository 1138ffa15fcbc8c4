# The gateway's image. One stage builds the binary; the other contains it without build tools.

FROM rust:1-bookworm AS builder
WORKDIR /src

# The dependencies are compiled first, with an empty program, so that a source change does not compile them again. This
# first manifest omits the tables that name missing files (benches, examples, tests).
COPY Cargo.toml Cargo.lock ./
COPY crates crates
RUN cp Cargo.toml /tmp/Cargo.toml \
 && awk '/^\[/ { keep = !/^\[\[(bench|example|test)\]\]/ } keep' /tmp/Cargo.toml > Cargo.toml \
 && mkdir src && echo 'fn main() {}' > src/main.rs && echo '//! Empty.' > src/lib.rs \
 && cargo build --release --locked --bin emagine-gateway \
 && rm -r src

# Then the gateway. COPY keeps the modification times, which cargo compares, so touch the files to rebuild.
COPY . .
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin emagine-gateway

FROM debian:bookworm-slim
RUN groupadd --gid 10001 gateway \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir / --shell /usr/sbin/nologin gateway
# Certificate authorities, for rediss:// brokers.
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder /src/target/release/emagine-gateway /usr/local/bin/emagine-gateway

# The production profile does not start without a secret and allowed origins, and reports which is missing.
ENV GATEWAY_PROFILE=production
USER 10001:10001
# 8080: WebSockets, for the balancer. 8081: publishing, health and metrics; keep it inside the network.
EXPOSE 8080 8081
# Liveness only. The balancer checks readiness (/readyz); a container that is not ready is not broken.
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s --retries=3 CMD ["emagine-gateway", "health"]
# Exec form, so that the gateway is process 1 and receives the SIGTERM that starts its drain.
STOPSIGNAL SIGTERM
ENTRYPOINT ["emagine-gateway"]
