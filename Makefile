# brisa. `make` alone lists what there is.
# the first that runs: a shim of pyenv's may be on PATH for a version that is not active
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
            $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
            command -v $$python && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 5000

.DEFAULT_GOAL := help
.PHONY: help setup run images credentials certificates deploy undeploy test test-long test-all test-cluster \
        chaos check bench lock schema texts screenshots clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.run ## the virtual environment, with locked requirements

$(VENV)/.made:
	@tools/venv "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.run: requirements/run.txt | $(VENV)/.made
	@echo "setup: what brisa runs with"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/adafruit.txt | $(VENV)/.made
	@echo "setup: what the tests and checks need"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@tools/adafruit $(BIN) --force-test
	@touch $@ $(VENV)/.run

run: setup ## broker, two replayed sensors and the page; PORT=5000; or DRIVER=iio, CAPTURE=FILE; MODEL=…
	@$(BIN)/python -m tools.run --port "$(PORT)" $(if $(DRIVER),--driver "$(DRIVER)") $(if $(CAPTURE),--capture "$(CAPTURE)") $(if $(MODEL),--model "$(MODEL)")

credentials: ## for the cluster: passwords; NODE="pi-1 pi-2" [the cluster's nodes]
	@"$(PYTHON)" -m tools.credentials $(if $(NODE),--node $(NODE))

certificates: ## for the cluster with TLS (OVERLAY=ha); HOST="pi-1.local 192.168.1.10" [the nodes]
	@"$(PYTHON)" -m tools.certificates $(if $(HOST),--host $(HOST))

deploy: ## OVERLAY=pi|demo|ha into the cluster; REGISTRY=… takes our images from there
	@REGISTRY="$(REGISTRY)" "$(PYTHON)" -m tools.deploy deploy --overlay "$(OVERLAY)"

undeploy: ## OVERLAY=… out of it; the history stays, unless PURGE=yes
	@"$(PYTHON)" -m tools.deploy undeploy --overlay "$(OVERLAY)" $(if $(PURGE),--purge)

test: $(VENV)/.dev ## on real brokers, databases and a real browser; ARGS for pytest
	@tools/packages
	@$(BIN)/python -m pytest -m "not long" --ignore tests/cluster -n 4 --dist loadgroup $(ARGS)

test-long: $(VENV)/.dev ## the rest: images, also for arm, a virtual Pi, long chaos
	@tools/packages --long
	@$(BIN)/python -m pytest -m long --ignore tests/cluster -n 4 --dist loadgroup $(ARGS)

test-all: test test-long ## every test that needs no cluster

test-cluster: $(VENV)/.dev ## on the Kubernetes that KUBECONFIG names, or on ../shared/cluster
	@tools/packages
	@$(BIN)/python -m pytest tests/cluster --timeout 1200 $(ARGS)

chaos: $(VENV)/.dev ## N=20 times over, kills at random times; SEED=… for a run seen before
	@tools/packages
	@$(BIN)/python -m tests.chaos.repeat $(or $(N),20) $(SEED)

check: $(VENV)/.dev ## lint, format, types, import rule, YAML, shell, links
	@tools/packages --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/yamllint --strict .
	@tools/shellcheck
	@$(BIN)/python -m tools.check_links

bench: $(VENV)/.dev ## what is measured, as ratios within one run
	@tools/packages
	@$(BIN)/python -m bench.run $(ARGS)

images: ## container images, by podman or docker; PLATFORM=linux/arm64, LOAD=k3s
	@tools/images $(if $(PLATFORM),--platform "$(PLATFORM)") $(if $(LOAD),--load "$(LOAD)")

schema: $(VENV)/.dev ## JSON Schemas and openapi.json, from the models
	@$(BIN)/python -m tools.make_schema
	@$(BIN)/python -m tools.make_openapi

texts: $(VENV)/.dev ## what the page says, from the source into gateway/translations; Spanish by hand
	@$(BIN)/python -m tools.make_texts

screenshots: $(VENV)/.dev ## every page in every shape into .screenshots/, and docs/images; ONLY=regex, ONLY=readme
	@$(BIN)/python -m tools.screenshots $(if $(ONLY),--only "$(ONLY)")

lock: $(VENV)/.dev ## requirements/*.txt from requirements/*.in
	@tools/lock $(BIN)/uv

clean: ## forget the virtual environment and what `make run` left
	rm -rf $(VENV) .run
