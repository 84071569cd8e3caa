# The image holds the binary, the shared libraries that it needs, CA certificates and time zones; nothing else, not
# even a shell. `./dev image` builds it with docker, podman or buildah. Data lies in the volume below.
#
#   BASE         a Debian 12 to build on
#   BINARY       where a binary lies that is built already, below this folder; without it it is compiled here
#   VERSION, REVISION, SOURCE_DATE_EPOCH   what the labels say; time of all files
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
WORKDIR /src
ARG BINARY=""
# First what the packages need alone, so that a change of sources does not install them again.
COPY dev ./
COPY tests/packages-*.txt tests/
RUN [ -n "$BINARY" ] || ./dev setup-build
COPY . .
RUN if [ -n "$BINARY" ]; then cp "$BINARY" /forebay; \
    else ./dev build release forebay && strip --strip-debug -o /forebay build/release/forebay; fi
ARG SOURCE_DATE_EPOCH=0
RUN cp LICENSE deploy/image/ && deploy/image/pack.sh /forebay /image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="forebay" \
      org.opencontainers.image.description="Many small telemetry writes in, few large batches out" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
USER 65532:65532
WORKDIR /var/lib/forebay
VOLUME /var/lib/forebay
EXPOSE 9090 9091 9092
# Inside a container the loopback address would be of no use to anyone.
ENV FOREBAY_LISTEN_INGEST=0.0.0.0:9090 FOREBAY_LISTEN_ADMIN=0.0.0.0:9091
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/forebay"]
CMD ["serve"]
