#!/bin/sh
# Install what a run needs, as requirements-cluster.lock has it, into /opt/venv. Dockerfile and faceneuro.def share this.
set -eu
cd "$(dirname "$0")/.."
awk '/^[a-z]/ {uv = /^uv==/} uv' requirements.lock > /tmp/uv.lock
python -m pip install --no-cache-dir --root-user-action ignore --require-hashes --requirement /tmp/uv.lock
uv venv --python python /opt/venv
# Whoever runs the image may not write there: compiled here, or at every start.
uv pip install --no-cache --compile-bytecode --python /opt/venv --require-hashes --requirement requirements-cluster.lock
rm /tmp/uv.lock
