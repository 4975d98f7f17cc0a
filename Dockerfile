# The whole workflow with everything that it needs, in the locked versions. Build it in this folder, run it in another:
#   docker build --tag faceneuro .
#   docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" faceneuro --cores 8
# A tag can change under you; to hold on to an image, give its digest: --build-arg PYTHON_IMAGE=python@sha256:...
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
FROM ${PYTHON_IMAGE}

# A mirror of the package index, if you are behind one.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX

WORKDIR /opt/faceneuro
# The packages first: they change less often than the code.
COPY requirements.lock requirements-cluster.lock ./
COPY envs/install.sh envs/
RUN sh envs/install.sh
COPY . .
RUN uv pip install --no-cache --compile-bytecode --python /opt/venv --no-deps --no-build-isolation .

# Anybody, and not root: a number, because a cluster asks for one. Caches go where any user may write.
USER 1000:1000
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp USER=faceneuro
WORKDIR /work
ENTRYPOINT ["snakemake", "--snakefile", "/opt/faceneuro/Snakefile"]
