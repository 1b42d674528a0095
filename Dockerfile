# The proxy as a container, for amd64 and arm64: `docker build -t poe-proxy .`
# To pin the base: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:<digest>. `make image-check` builds and tries it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
# hadolint ignore=DL3008 # only strip is used of it, and nothing of it reaches the last stage
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements.txt .
# The base's pip fills an environment that has none. Wheels only: there is no compiler here, and a missing wheel should
# say so at once. No dependencies: the list is complete, and setuptools, which Sanic asks for and does not use, stays out.
# Debug symbols are a quarter of what the wheels bring.
RUN python -m venv --without-pip /opt/venv \
    && python -m pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --disable-pip-version-check \
        --root-user-action ignore --only-binary :all: --no-deps -r requirements.txt \
    && find /opt/venv -depth -type d -name tests -exec rm -r {} + \
    && find /opt/venv -name '*.so' -exec strip --strip-debug {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY LICENSE /app/
COPY proxy/ /app/proxy/
# Readable whatever the umask was of whoever checked it out. Compiled here, as the user below may not write beside the
# sources; unchecked, so that it holds when a builder sets all file times alike.
RUN chmod -R u=rwX,go=rX /app \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data
# Not "proxy": Debian has a user of that name. The base's standard library is not compiled, so each process would compile
# its part anew: 0.5 s of CPU for a worker, 0.15 s for each health check.
RUN useradd --no-log-init --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin poe-proxy \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -x '/(site-packages|ensurepip|idlelib|pydoc_data|tkinter|turtledemo)/' \
        "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER 10001:10001
# Only the embedded Valkey writes here; with REDIS_URL set it stays empty. With a read-only root /tmp has to be a tmpfs:
# the workers count what METRICS_PORT shows in files there.
VOLUME ["/data"]
EXPOSE 10000
STOPSIGNAL SIGTERM
# http.client, because urllib would follow a proxy named in the environment.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 10000), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
# Exec form: SIGTERM reaches Python, which drains.
CMD ["python", "-m", "proxy", "serve"]
# Last, as they differ from build to build.
ARG PYTHON_IMAGE
ARG SOURCE=https://github.com/yourusername/poe-proxy
ARG VERSION=
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title=poe-proxy \
    org.opencontainers.image.description="One endpoint with OpenAI's and Anthropic's APIs in front of Poe" \
    org.opencontainers.image.licenses=MIT \
    org.opencontainers.image.source=$SOURCE \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$REVISION \
    org.opencontainers.image.created=$CREATED \
    org.opencontainers.image.base.name=$PYTHON_IMAGE
