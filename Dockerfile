# check=error=true
#
# Targets: `lean` (the default), for Kafka and a ClickHouse server, and `all-in-one`, which has the embedded
# ClickHouse, 550 MB more, and runs everything in one container.
#
#   docker build --build-arg REVISION="$(git rev-parse HEAD)" -t millrace .
#
# Debian 13 throughout: uWebSockets.js for Node.js 24 needs glibc 2.38, and has no binary for musl.
# By digest, as in .gitlab-ci.yml: `node .ci/images.mjs --write` looks up those of today.
ARG NODE_IMAGE=node:24.21.0-trixie-slim@sha256:8ec5d7557396cfe32d21c3f9c13072355ceab22b584578ca4bb28af31120cffe
# No shell, no package manager. It has no tags for versions, and its fixes come under this one: where builds must
# repeat, give it with its digest.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot

FROM ${NODE_IMAGE} AS node

# Dependencies bring binaries for their platforms as optional packages, and so does chdb: `--omit=optional` would drop
# uWebSockets.js, LMDB and snappy, too. Scripts of packages would only build what is there already as a binary;
# `prepare` of this package runs below, once its sources are there.
FROM node AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund && mkdir data

FROM build AS without-chdb
RUN rm -rf node_modules/chdb node_modules/@chdb

FROM ${RUNTIME_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Millrace" \
      org.opencontainers.image.description="Event collector: JSON over HTTP, durable in Kafka or an embedded log, exactly once into ClickHouse" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=node /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY LICENSE package.json ./
COPY schemas schemas
COPY docker/healthcheck.mjs ./
COPY --from=build /build/dist dist
# The only place that is written to. A new named volume takes its owner from here.
COPY --from=build --chown=65532:65532 /build/data /data
# Within a container, loopback reaches nobody: what is published to whom is up to whoever runs it.
ENV NODE_ENV=production \
    MILLRACE_DATA_DIR=/data \
    MILLRACE_LISTEN=0.0.0.0:8080 \
    MILLRACE_STREAM_LISTEN=0.0.0.0:8081
USER 65532:65532
VOLUME ["/data"]
EXPOSE 8080 8081
# The collector; a streamer is asked at 8081.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s --retries=3 \
    CMD ["/usr/local/bin/node", "/app/healthcheck.mjs", "8080"]
# The flag that `start` gives its processes: src/process/node-flags.ts.
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=8", "/app/dist/main.js"]

FROM runtime AS all-in-one
COPY --from=build /build/node_modules node_modules
CMD ["start"]

# The last one is the default.
FROM runtime AS lean
COPY --from=without-chdb /build/node_modules node_modules
CMD ["collect"]
