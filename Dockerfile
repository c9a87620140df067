# The agent itself as an image. Builds run beside it, in containers of the host's Docker engine, never inside it.
#
#   docker run --detach --name buildspecd --restart always --network host --stop-timeout 60 \
#     --volume /var/run/docker.sock:/var/run/docker.sock \
#     --volume /var/lib/buildspecd:/var/lib/buildspecd \
#     --volume /run/buildspecd:/run/buildspecd \
#     --volume /etc/buildspecd:/etc/buildspecd:ro \
#     buildspecd
#
# The state and runtime directories stand at the same path inside as outside, because the agent tells the host's engine
# to mount what lies in them. /run/buildspecd holds the secrets of running builds: on the host /run is in memory.
# With --network host, 127.0.0.1:8470 is the host's. To stop or replace this container ends no build.
#
# Any base with Python 3.11 or later does. A TLS proxy's bundle is taken from dist/ca.crt (`make image CA=FILE`).
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY LICENSE dist/ca.cr[t] /tmp/ca/
RUN set -eu; \
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then \
        apt-get update; apt-get install -y --no-install-recommends python3 python3-venv; \
    fi; \
    python3 -m venv /opt/buildspecd
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY agent ./agent
RUN set -eu; \
    if [ -s /tmp/ca/ca.crt ]; then export PIP_CERT=/tmp/ca/ca.crt; fi; \
    PIP_CONSTRAINT=requirements.lock /opt/buildspecd/bin/pip install --no-cache-dir --disable-pip-version-check .; \
    /opt/buildspecd/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
RUN set -eu; \
    packages=""; \
    command -v python3 >/dev/null || packages="python3"; \
    command -v git >/dev/null || packages="$packages git"; \
    [ -e /etc/ssl/certs/ca-certificates.crt ] || packages="$packages ca-certificates"; \
    if [ -n "$packages" ]; then \
        apt-get update; \
        apt-get install -y --no-install-recommends $packages; \
        rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=build /opt/buildspecd /opt/buildspecd
COPY config/agent.yml config/agent.schema.json config/project.schema.json /etc/buildspecd/
RUN ln -s /opt/buildspecd/bin/buildspecd /usr/local/bin/buildspecd && mkdir -p /etc/buildspecd/projects.d
ENV PYTHONUNBUFFERED=1 RUNTIME_DIRECTORY=/run/buildspecd
EXPOSE 8470
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/opt/buildspecd/bin/python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8470/healthz', timeout=4)"]
ENTRYPOINT ["buildspecd"]
CMD ["serve"]
