# Needs Python 3.11 or newer, make and the package registries; nothing else. `make run` is where to begin.

PYTHON ?= python3
MANAGE = .venv/bin/python manage.py

.DEFAULT_GOAL := help
.PHONY: help setup dev run test faults check bench bench-full

help:
	@echo "make run         serve with live streams on http://127.0.0.1:8000 (HOST=… PORT=…)"
	@echo "make test        run every test (ARGS=… goes to pytest)"
	@echo "make check       all but the tests: lint, format, types, migrations, production settings"
	@echo "make faults      kill and starve real servers, for more than an hour (ARGS='--kills 100 --soak 5m' for less)"
	@echo "make bench       measure, beside other servers, in five minutes; writes docs/benchmarks"
	@echo "make bench-full  measure everything, with curves"
	@echo "make setup       only install what run needs"
	@echo "make dev         only install what test and check need"

# Nothing of the developer's own set-up: what production would say.
PRODUCTION = env -i PATH="$$PATH" WIRELOG_ENV_FILE=/dev/null PUBLIC_URL=https://wirelog.example.org TRUSTED_PROXIES=127.0.0.1 LOG_FORMAT=json

define need-python
@command -v $(PYTHON) >/dev/null || { echo "Error: $(PYTHON) is not installed. Wirelog needs Python 3.11 or newer; name it: make PYTHON=…" >&2; exit 1; }
endef

setup:
	$(need-python)
	@$(PYTHON) project/setup.py run

dev:
	$(need-python)
	@$(PYTHON) project/setup.py dev

run: setup
	@$(MANAGE) migrate --verbosity 0
	@exec $(MANAGE) serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) --demo --sign-in-link

test: dev
	@.venv/bin/python -m pytest $(ARGS)

faults: dev
	@.venv/bin/python -m tests.faults.run $(ARGS)

check: dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
# The node of PyPI lies in .venv, where PATH has none or an old one.
	PATH="$(CURDIR)/.venv/bin:$$PATH" npm run --silent lint
	$(MANAGE) makemigrations --check --dry-run --settings tests.settings
	@data=$$(mktemp -d) && trap 'rm -rf "$$data"' EXIT && $(PRODUCTION) WIRELOG_DATA="$$data" $(MANAGE) check --deploy --fail-level WARNING

bench: setup
	@.venv/bin/python -m bench

bench-full: setup
	@.venv/bin/python -m bench --full
