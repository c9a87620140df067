# The jobs of this repository. Each does the set-up it needs, says what it does, and can be run again.

PYTHON := .venv/bin/python
BASE   ?= python:3.12-slim
TAG    ?= buildspecd:latest

.PHONY: help setup demo test fuzz check bench image schemas lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what development and tests need: packages, Docker engine, tools
	@.ci/setup test

demo: ## run the main job on this machine, from push to artifact (KEEP=1: leave the daemon running)
	@.ci/setup run
	@$(PYTHON) demo/demo.py $(if $(KEEP),--keep) $(ARGS)

test: ## run every test (ARGS='-k word' picks some)
	@.ci/setup test
	@$(PYTHON) -m pytest -n 2 --dist loadgroup $(ARGS)

fuzz: ## hunt for buildspecs that break the parser (MINUTES=5; CORPUS=directory that is kept)
	@.ci/setup test
	@$(PYTHON) -c 'import atheris' 2>/dev/null || PIP_CONSTRAINT=requirements.lock $(PYTHON) -m pip install --quiet --use-pep517 --editable '.[fuzz]'
	@$(PYTHON) -m tests.fuzz.fuzz_buildspec --minutes $(or $(MINUTES),5) --corpus $(or $(CORPUS),.cache/fuzz) $(ARGS)

check: ## lint, types, layers, shell scripts
	@.ci/setup test
	@.ci/check

bench: ## measure what the README claims
	@.ci/setup test
	@$(PYTHON) -m bench $(ARGS)

image: ## build the agent's own image (TAG=name, BASE=image with Python 3.11 or later, CA=bundle of a TLS proxy)
	@.ci/engine run
	@rm -f dist/ca.crt
	@if [ -n "$(CA)" ]; then mkdir -p dist && cp "$(CA)" dist/ca.crt; fi
	docker build --network host --build-arg BASE=$(BASE) --tag $(TAG) .

schemas: ## write config/*.schema.json anew after a change of the settings
	@$(PYTHON) -m agent.settings.schemas config

lock: ## write requirements.lock anew from what is installed
	@.ci/lock

clean: ## remove what the tools leave behind; keeps the virtual environment
	@rm -rf .cache .demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist
