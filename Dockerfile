# The proxy as a container: `docker build -t poe-proxy .`
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY requirements.txt .
# Wheels only: there is no compiler here, and a missing wheel should say so at once.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary :all: -r requirements.txt

FROM ${PYTHON_IMAGE}
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DATA_DIR=/data
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin proxy \
    && install --directory --owner=10001 --group=10001 --mode=0700 /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY proxy/ proxy/
# Compiled here, because the user below may not write beside the sources.
RUN python -m compileall -q proxy
USER 10001:10001
# Only the embedded Valkey writes here; with REDIS_URL set it stays empty.
VOLUME ["/data"]
EXPOSE 10000
# http.client, because urllib would follow a proxy named in the environment.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 10000), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
# Exec form: SIGTERM reaches Python, which drains.
CMD ["python", "-m", "proxy", "serve"]
