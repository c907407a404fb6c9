# The page with the default models on a CPU. Models are fetched at the first start: keep them in a volume.
#   docker build -t gac . && docker run -p 7860:7860 -v gac:/data gac
# Or the image has them, and what is derived of them for the processor that builds it:
#   docker build -t gac --build-arg PREPARE=yes .
# With a torch for NVIDIA GPUs, though none is there while the image is built: --build-arg CUDA=yes
# More packages, of the versions in constraints.txt, such as a driver of Postgres:
#   docker build -t gac --build-arg PACKAGES='psycopg[binary]' .
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 gac && install -d -o gac /app /data
WORKDIR /app
USER 1000

COPY --chown=gac requirements.txt constraints.txt ./
COPY --chown=gac scripts/setup.sh scripts/setup.sh
ARG CUDA=
RUN bash -euo pipefail -c 'source scripts/setup.sh; make_venv; install installed requirements.txt' \
    && rm -rf ~/.cache/pip
ARG PACKAGES=
RUN [ -z "$PACKAGES" ] || .venv/bin/pip install --no-cache-dir -c constraints.txt $PACKAGES
COPY --chown=gac . .

ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GAC_HOST=0.0.0.0 \
    GAC_CACHE=/data/cache \
    GAC_DATABASE_URL=sqlite:////data/gac.sqlite3
ARG PREPARE=
RUN [ -z "$PREPARE" ] || python -m gac_app fetch
VOLUME /data
EXPOSE 7860
# Reads the port without loading plug-ins, which may take seconds.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import os, urllib.request as r; import gac_app.environment as g; e = os.environ; p = g.load_config(g.config_path(None, e), g.environment_overrides(e), g.space_defaults(e)).server.port; r.urlopen(f'http://127.0.0.1:{p}/healthz', timeout=4)"]
CMD ["python", "app.py"]
