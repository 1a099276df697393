# Each target sets up what it needs in .venv; nothing but Python 3.11 or newer is taken for granted.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
OLDEST_PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 $(PYTHON); do \
	$$python -c '' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
# Only errors: pip's warnings are about the machine and not about this project.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check
# What every installation of a user could have, and what tests of all of it need.
EXTRAS := emulator,cli,agents,tokenizer
QUESTION ?= run the interpreter twice: first 123 to the power of 23, then divide that by 5

# Processes that run tests; auto is the number of cores.
WORKERS ?= auto

# Seconds for each API.
FUZZ_SECONDS ?= 600
# Of `make cancellations`, for all parts together.
CANCEL_SECONDS ?= 300
CANCEL_COUNT ?= 1000000

.PHONY: demo test unit_tests integration_tests check package smoke pythons lock bench faults load cancellations fuzz clean postgresql

demo: .venv/demo.installed
	@$(BIN)/python -m langchain_qwen_ci "$(QUESTION)"

# `make test TEST=tests/unit_tests/wire` runs a part of the tests.
test: .venv/dev.installed postgresql
	$(BIN)/python -m pytest -n $(WORKERS) $(TEST)

unit_tests: .venv/dev.installed
	$(BIN)/python -m pytest -n $(WORKERS) tests/unit_tests

integration_tests: .venv/dev.installed postgresql
	$(BIN)/python -m pytest -n $(WORKERS) tests/integration_tests

# Some tests start a PostgreSQL server. Without it they are skipped.
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update >/dev/null \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null; } \
	|| echo "PostgreSQL is not installed and could not be installed: its tests are skipped."

check: .venv/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
		.github/ISSUE_TEMPLATE/bug_report.yml .github/ISSUE_TEMPLATE/feature_request.yml
	$(BIN)/zizmor --offline --quiet .github

# The wheel is built from the source distribution, which shows that the latter is complete.
package: .venv/package.installed
	rm -rf dist
	$(BIN)/python -m build --outdir dist . >/dev/null
	$(BIN)/twine check --strict dist/*
	$(BIN)/python tests/packaging/check_distributions.py dist

# The wheel, with the oldest dependencies that pyproject.toml allows. They are older than some newer
# Pythons, so the oldest Python takes them.
smoke: package
	$(OLDEST_PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python $(PIP_INSTALL) --requirement tests/smoke/lowest.txt \
		"$$(ls dist/*.whl)[$(EXTRAS)]"
	.venv-lowest/bin/python -m pip check
	.venv-lowest/bin/pytest tests/smoke

# The wheel, with the pinned dependencies, on every supported Python that this machine has.
pythons: package
	sh tests/smoke/pythons.sh dist/*.whl

# Writes the newest versions that fit together, and the oldest ones that are allowed.
lock: .venv/lock.installed
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--all-extras --group dev --group fuzz --group package --group lock \
		--custom-compile-command "make lock" --output-file requirements/dev.txt
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--group bench --constraint requirements/dev.txt \
		--custom-compile-command "make lock" --output-file requirements/bench.txt
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 \
		--all-extras --group smoke --resolution lowest-direct \
		--custom-compile-command "make lock" --output-file tests/smoke/lowest.txt
	ruff=$$(sed -n 's/^ruff==//p' requirements/dev.txt) && \
		sed -i "/ruff-pre-commit/ { n; s/rev: .*/rev: v$$ruff/ }" .pre-commit-config.yaml

# Writes docs/performance.md; `make bench BENCH=quick` measures less, and prints only.
bench: .venv-bench/bench.installed
	.venv-bench/bin/python tests/benchmarks $(BENCH)

# All combinations, of which the tests run a part. UPDATE_DOCS=1 also writes the table into docs/fault-handling.md.
faults: .venv/dev.installed
	@$(BIN)/python tests/support/fault_table.py

load: .venv/dev.installed
	$(BIN)/python tests/load/load.py $(SIZE)

# Async calls are cancelled and sync calls closed, at random moments, for CANCEL_SECONDS.
cancellations: .venv/dev.installed
	$(BIN)/python tests/load/cancellations.py --seconds $(CANCEL_SECONDS) --count $(CANCEL_COUNT)

# All three APIs, also after a finding. Findings and the corpus are in .fuzz.
fuzz: .venv/fuzz.installed
	@found=0; for wire in dashscope responses chat_completions; do \
		nice $(BIN)/python tests/fuzz/fuzz_decoders.py $$wire -max_total_time=$(FUZZ_SECONDS) || { \
			found=1; echo "Failed. To reproduce: $(BIN)/python tests/fuzz/fuzz_decoders.py" \
				"$$wire $$(ls -t .fuzz/$$wire-* 2>/dev/null | head -n 1)"; }; \
	done; exit $$found

clean:
	rm -rf .venv .venv-bench .venv-lowest .venv-pythons .fuzz dist

.venv/demo.installed: WHAT = --editable ".[emulator,cli]"
.venv/dev.installed: WHAT = --editable ".[$(EXTRAS)]" --group dev
.venv/fuzz.installed: WHAT = --editable ".[$(EXTRAS)]" --group fuzz
.venv/package.installed: WHAT = --group package
.venv/lock.installed: WHAT = --group lock
.venv/%.installed: pyproject.toml requirements/dev.txt | .venv/pip.upgraded
	$(BIN)/python $(PIP_INSTALL) --constraint requirements/dev.txt $(WHAT)
	@touch $@

# The other clients stay out of .venv.
.venv-bench/bench.installed: pyproject.toml requirements/bench.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python $(PIP_INSTALL) --upgrade "pip>=25.1"
	.venv-bench/bin/python $(PIP_INSTALL) --constraint requirements/bench.txt \
		--editable . --group bench
	@touch $@

# pip knows groups of dependencies since 25.1, which is newer than what Python 3.11 comes with.
.venv/pip.upgraded: | .venv/bin/python
	$(BIN)/python $(PIP_INSTALL) --upgrade "pip>=25.1"
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it."; exit 1; }
	$(PYTHON) -m venv .venv
