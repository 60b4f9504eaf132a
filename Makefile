# brisa. `make` alone lists what there is.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 5000

.DEFAULT_GOAL := help
.PHONY: help setup run test chaos check bench images lock schema screenshots clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

run: setup ## broker, two replayed sensors and the page; or DRIVER=iio, or CAPTURE=FILE; MODEL=…
	@$(BIN)/python -m tools.run --port "$(PORT)" $(if $(DRIVER),--driver "$(DRIVER)") $(if $(CAPTURE),--capture "$(CAPTURE)") $(if $(MODEL),--model "$(MODEL)")

test: $(VENV)/.dev ## every test, on real brokers, a real browser and a real kernel
	@tools/packages
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

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

screenshots: $(VENV)/.dev ## docs/images, of the page that `make run` shows
	@$(BIN)/python -m tools.screenshots --url "http://localhost:$(PORT)"

lock: $(VENV)/.dev ## requirements/*.txt from requirements/*.in
	@tools/lock $(BIN)/uv

clean: ## forget the virtual environment and what `make run` left
	rm -rf $(VENV) .run
