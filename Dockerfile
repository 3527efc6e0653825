# Three images from one file: web (no torch), engine-cpu, engine-cuda.
#   docker build --target web -t pagoda/web .
#   docker build --target engine-cpu -t pagoda/engine-cpu .
#   docker build --target engine-cuda --build-arg CUDA_BASE_IMAGE=nvidia/cuda:12.8.1-runtime-ubuntu24.04 -t pagoda/engine-cuda .
# Python packages found in deploy/wheels are taken from there, so that a build needs no network. The
# index's torch computes on NVIDIA GPUs; `--build-arg PIP_EXTRA_INDEX_URL=` an index with torch for
# CPUs makes engine-cpu smaller by gigabytes.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG CUDA_BASE_IMAGE=nvidia/cuda:12.8.1-runtime-ubuntu24.04

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/pagoda/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PAGODA_HOME=/var/lib/pagoda PAGODA_HOST=0.0.0.0 PAGODA_CACHE_DIR=/var/lib/pagoda/cache

# --- packages of the web tier: every image holds them -----------------------------------------
FROM base AS web-packages
RUN python3 -m venv /opt/pagoda
COPY requirements deploy/install /src/requirements/
RUN --mount=type=bind,source=deploy/wheels,target=/wheels \
    --mount=type=cache,target=/var/cache/pip \
    cd /src/requirements && ./install cpu.lock web.in

# --- Pagoda itself -----------------------------------------------------------------------------
FROM web-packages AS web-build
COPY . /src
RUN pip install --disable-pip-version-check --no-index --no-deps --no-build-isolation /src \
    && pip uninstall --yes --quiet setuptools pip

FROM web-packages AS engine-cpu-build
ARG PIP_EXTRA_INDEX_URL
RUN --mount=type=bind,source=deploy/wheels,target=/wheels \
    --mount=type=cache,target=/var/cache/pip \
    cd /src/requirements && ./install cpu.lock engine.in
COPY . /src
RUN pip install --disable-pip-version-check --no-index --no-deps --no-build-isolation /src \
    && pip uninstall --yes --quiet setuptools pip

# --- what runs ---------------------------------------------------------------------------------
FROM base AS runtime
RUN useradd --system --uid 10001 --home-dir /var/lib/pagoda --shell /usr/sbin/nologin pagoda \
    && install -d -o pagoda -g pagoda -m 0700 /var/lib/pagoda /var/lib/pagoda/lora /var/lib/pagoda/cache
WORKDIR /var/lib/pagoda
USER pagoda
VOLUME /var/lib/pagoda
ENTRYPOINT ["pagoda"]

FROM runtime AS web
COPY --from=web-build /opt/pagoda /opt/pagoda
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
CMD ["serve", "--only", "web"]

FROM runtime AS engine-cpu
USER root
# The CPU kernels are C, compiled for the very processor at the first start.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
USER pagoda
COPY --from=engine-cpu-build /opt/pagoda /opt/pagoda
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 \
    CMD ["sh", "-c", "find $PAGODA_HOME/logs/agent.alive -newermt '15 seconds ago' | grep -q ."]
CMD ["agent"]

# --- GPU: another base, torch with CUDA, a compiler for Triton's launchers -----------------------
FROM ${CUDA_BASE_IMAGE} AS engine-cuda
ENV PATH=/opt/pagoda/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PAGODA_HOME=/var/lib/pagoda PAGODA_CACHE_DIR=/var/lib/pagoda/cache
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-dev python3-venv gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/pagoda \
    && useradd --system --uid 10001 --home-dir /var/lib/pagoda --shell /usr/sbin/nologin pagoda \
    && install -d -o pagoda -g pagoda -m 0700 /var/lib/pagoda /var/lib/pagoda/lora /var/lib/pagoda/cache
COPY requirements deploy/install /src/requirements/
RUN --mount=type=bind,source=deploy/wheels,target=/wheels \
    --mount=type=cache,target=/var/cache/pip \
    cd /src/requirements && ./install cpu.lock web.in engine.in
COPY . /src
RUN pip install --disable-pip-version-check --no-index --no-deps --no-build-isolation /src \
    && pip uninstall --yes --quiet pip
WORKDIR /var/lib/pagoda
USER pagoda
VOLUME /var/lib/pagoda
ENTRYPOINT ["pagoda"]
HEALTHCHECK --interval=5s --timeout=5s --start-period=300s --retries=3 \
    CMD ["sh", "-c", "find $PAGODA_HOME/logs/agent.alive -newermt '15 seconds ago' | grep -q ."]
CMD ["agent"]
