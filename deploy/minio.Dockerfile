# The S3 server of docker-compose.yml. The MinIO project publishes no images any more, so it is built from its Go
# module, of the version that deploy/servers/native/minio.ts pins; `npm run verify` compares them.
# MinIO is under the AGPL 3.0: mind that if you hand this image on.
FROM golang:1.26 AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ENV CGO_ENABLED=0 GOBIN=/out
RUN go install -trimpath -ldflags='-s -w' "github.com/minio/minio@${MINIO_VERSION}"

FROM alpine:3.22
COPY --from=build /out/minio /usr/local/bin/minio
# A new volume takes its owner from the folder that it covers.
RUN mkdir /data && chown 1000:1000 /data
ENV MINIO_BROWSER=off MINIO_UPDATE=off
USER 1000:1000
VOLUME /data
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9000/minio/health/ready"]
CMD ["minio", "server", "--address", ":9000", "--certs-dir", "/tmp/certs", "/data"]
