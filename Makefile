# Needs Python 3.11 or newer, make and the package registries; nothing else. `make run` is where to begin.

PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
export HOST PORT

BIN = .venv/bin
MANAGE = $(BIN)/python manage.py
# Stamps say what was installed, by content: a checkout that only touches a file installs nothing again.
STAMPS = .venv/stamps

.DEFAULT_GOAL := help
.PHONY: help setup run test check clean-stamps

help:
	@echo "make run     serve, with demo streams, on http://$(HOST):$(PORT)"
	@echo "make test    run every test"
	@echo "make check   lint, types, system checks"
	@echo "make setup   install what run needs, and no more"

setup:
	@$(PYTHON) tools/setup.py run

run: setup
	@$(MANAGE) migrate --verbosity 0
	@exec $(MANAGE) serve --host $(HOST) --port $(PORT) --demo --sign-in-link

test:
	@$(PYTHON) tools/setup.py dev
	@$(BIN)/python -m pytest $(ARGS)

check:
	@$(PYTHON) tools/setup.py dev
	@$(PYTHON) tools/check.py
