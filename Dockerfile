# syntax=docker/dockerfile:1
# The image holds the binary, the shared libraries that it needs, CA certificates and time zones; nothing else,
# not even a shell. Data lies in the volume below.
FROM debian:bookworm-slim AS build
WORKDIR /src
# First what the packages need alone, so that a change of sources does not install them again.
COPY dev ./
COPY tests/packages-*.txt tests/
RUN ./dev setup-build && apt-get install -y -q --no-install-recommends ca-certificates tzdata
COPY . .
RUN ./dev build release \
    && strip --strip-debug build/release/forebay \
    && mkdir -p /image/usr/local/bin /image/etc/ssl /image/var/lib/forebay \
    && cp build/release/forebay /image/usr/local/bin/ \
    && ldd build/release/forebay | awk '$2 == "=>" {print $3} $1 ~ /^\// {print $1}' | sort -u \
        | while read -r library; do install -D "$library" "/image$library"; done \
    && cp -rL /etc/ssl/certs /image/etc/ssl/ \
    && mkdir -p /image/usr/share && cp -r /usr/share/zoneinfo /image/usr/share/ \
    && echo 'forebay:x:65532:65532::/var/lib/forebay:/sbin/nologin' >/image/etc/passwd \
    && echo 'forebay:x:65532:' >/image/etc/group \
    && cp /etc/nsswitch.conf /image/etc/ \
    && chown 65532:65532 /image/var/lib/forebay

FROM scratch
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
