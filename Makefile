# `make demo` sets up and runs the main job; `make test` passes the tests; `make check` is the gate.
PYTHON ?= python3
BIN := .venv/bin
PACKAGES := podpath apiserver scheduler kubelet runtime_shim controllers

.PHONY: bench-runtime bench-scheduler help setup protos fmt lint types imports test-fast test sim integration kubectl e2e critest bench \
	demo demo-docker docker check clean

help: ## what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(BIN)/podpath: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "podpath needs Python >= 3.11; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv .venv || { echo "apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(BIN)/podpath ## the virtual environment, packages, and tools in .tools/bin
	tools/install.sh

demo: setup ## a cluster, kubectl apply, a running container, the 18 steps
	$(BIN)/podpath demo

demo-docker: setup ## three nodes, each a container; starts a private dockerd where none runs
	deploy/with-engine.sh $(BIN)/podpath cluster demo

docker: setup ## the tests of clusters on containers, faults included; fails where no engine can be had
	deploy/with-engine.sh $(BIN)/pytest -q -m docker

protos: $(BIN)/podpath ## regenerate the stubs beside the .proto files
	PYTHON=$(BIN)/python protos/generate.sh

fmt: ## format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

lint: ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: ## mypy, strict
	$(BIN)/mypy $(PACKAGES)

imports: ## who may import whom
	$(BIN)/lint-imports

test-fast: $(BIN)/podpath ## the unmarked tests: no root, no network, under a minute
	$(BIN)/pytest -q -m 'not integration and not kubectl and not e2e and not docker and not simulation and not slow'

test: setup ## everything, real etcd, real containers and clusters on containers included
	$(BIN)/pytest -q -m 'not docker'
	$(MAKE) --no-print-directory docker

integration kubectl e2e: setup ## one marker's tests
	$(BIN)/pytest -q -m $@

sim: $(BIN)/podpath ## seeded simulations
	$(BIN)/pytest -q -m simulation

critest: setup ## the CRI validation suite on the shim, on containerd's own CRI and on the proxy
	tools/install.sh critest
	$(BIN)/python -m tests.critest

bench: setup ## the load of `podload`, beside the real control plane if PODPATH_PEERS=DIR has it
	tools/podload/build.sh
	$(BIN)/python -m bench

bench-runtime: setup ## containers through the shim beside the bare nerdctl commands; memory, growth
	$(BIN)/python -m bench.runtime

bench-scheduler: setup ## decisions per second, and Pods bound per second beside kube-scheduler
	$(BIN)/python -m bench.scheduler
	$(BIN)/python -m bench.scheduler_stack

check: lint types imports ## the gate: style, types, imports, generated code, fast tests
	@PYTHON=$(BIN)/python protos/generate.sh && git diff --exit-code --stat -- protos \
		|| { echo "generated stubs differ: run make protos and commit"; exit 1; }
	$(MAKE) --no-print-directory test-fast

clean: ## what can be made again
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
