#!/usr/bin/env bash
# Writes the Python stubs beside their .proto files. Run from the root: `make protos`.
# `-I .` makes a file's path its import path, so nothing is patched afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
find protos -name '*_pb2*.py*' -delete
"$python" -m grpc_tools.protoc -I . --python_out=. --pyi_out=. protos/*/*.proto
"$python" -m grpc_tools.protoc -I . --grpc_python_out=. \
  --plugin=protoc-gen-mypy_grpc="$(dirname "$python")/protoc-gen-mypy_grpc" --mypy_grpc_out=. \
  protos/cri/*.proto protos/etcd/etcdserverpb.proto protos/podpath/apiserver_v1.proto \
  protos/podpath/scheduler_v1.proto
