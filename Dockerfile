# Three images from one file: web (no torch), engine-cpu, engine-cuda. It needs BuildKit: Docker 23
# or newer, or DOCKER_BUILDKIT=1 before.
#   docker build --target web -t pagoda/web .
#   docker build --target engine-cpu -t pagoda/engine-cpu .
#   docker build --target engine-cuda -t pagoda/engine-cuda .
# Python packages found in deploy/wheels are taken from there, so that a build needs no network. The
# index's torch computes on NVIDIA GPUs and brings CUDA's libraries with it, so engine-cuda needs no
# CUDA image below it; `--build-arg PIP_EXTRA_INDEX_URL=` an index with torch for CPUs makes
# engine-cpu smaller by gigabytes.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/pagoda/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PAGODA_HOME=/var/lib/pagoda PAGODA_HOST=0.0.0.0 PAGODA_CACHE_DIR=/var/lib/pagoda/cache \
    HF_HOME=/var/lib/pagoda/models

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

FROM web-packages AS engine-build
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
    && cd /var/lib && install -d -o pagoda -g pagoda -m 0700 pagoda pagoda/lora pagoda/cache pagoda/models
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

FROM runtime AS engine
USER root
# The CPU kernels and Triton's launchers are C, compiled for the very machine at the first start.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && include=$(python3 -c "import sysconfig; print(sysconfig.get_path('include'))") \
    && { test -e "$include/Python.h" || { echo "BASE_IMAGE lacks $include/Python.h" >&2; exit 1; }; }
USER pagoda
CMD ["agent"]

FROM engine AS engine-cpu
COPY --from=engine-build /opt/pagoda /opt/pagoda
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=3 \
    CMD ["sh", "-c", "find $PAGODA_HOME/logs/agent.alive -newermt '15 seconds ago' | grep -q ."]

# --- GPU: the same with CUDA's torch; NVIDIA's container toolkit brings the driver's libraries ---
FROM engine-build AS engine-cuda-build
RUN python3 -c "import torch; torch.version.cuda or exit('torch ' + torch.__version__ + ' computes on CPUs alone: take it from an index, or put into deploy/wheels one, that has it for CUDA')"

FROM engine AS engine-cuda
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TRITON_CACHE_DIR=/var/lib/pagoda/cache/triton
COPY --from=engine-cuda-build /opt/pagoda /opt/pagoda
HEALTHCHECK --interval=5s --timeout=5s --start-period=300s --retries=3 \
    CMD ["sh", "-c", "find $PAGODA_HOME/logs/agent.alive -newermt '15 seconds ago' | grep -q ."]
