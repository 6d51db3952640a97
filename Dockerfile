# The server and the reference worker in one image: docker build -t bioscope-gql .
FROM node:24-slim AS web
WORKDIR /source/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

FROM python:3.13-slim AS build
WORKDIR /source
RUN python -m venv /opt/bioscope
ENV PATH=/opt/bioscope/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock requirements-otel.lock ./
RUN pip install --require-hashes --requirement requirements.lock
# For app.traces_endpoint; nothing of it is loaded without.
RUN pip install --require-hashes --requirement requirements-otel.lock
COPY pyproject.toml README.md LICENSE piccolo_conf.py ./
COPY piccolo_migrations piccolo_migrations
COPY bioscope_gql bioscope_gql
COPY --from=web /source/bioscope_gql/web/static bioscope_gql/web/static
RUN pip install --no-deps --no-build-isolation . && pip uninstall --yes setuptools pip

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/bioscope --shell /usr/sbin/nologin bioscope \
    && install -d -o bioscope -g bioscope -m 700 /var/lib/bioscope /var/lib/bioscope/keys
COPY --from=build /opt/bioscope /opt/bioscope
ENV PATH=/opt/bioscope/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER bioscope
WORKDIR /var/lib/bioscope
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=3).close()"]
ENTRYPOINT ["bioscope"]
CMD ["serve", "--host", "0.0.0.0"]
