# Each target sets up what it needs in .venv; nothing but Python 3.11 or newer is taken for granted.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
QUESTION ?= run the interpreter twice: first 123 to the power of 23, then divide that by 5

# How long each wire is fuzzed.
FUZZ_SECONDS ?= 600

.PHONY: demo test check bench faults load fuzz mutants clean postgresql

demo: .venv/demo.installed
	@$(BIN)/python -m langchain_qwen_ci "$(QUESTION)"

test: .venv/dev.installed postgresql
	$(BIN)/python -m pytest -n auto

# Some tests want a PostgreSQL server to start. Without one they are skipped, and say so.
postgresql:
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
	|| { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get -qq update >/dev/null \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends postgresql >/dev/null; } \
	|| echo "PostgreSQL is not here and could not be installed: its tests will be skipped."

check: .venv/dev.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/bench.installed
	$(BIN)/python tests/benchmarks/cpu_per_chunk.py

# UPDATE_DOCS=1 also writes what it prints into docs/faults.md.
faults: .venv/dev.installed
	@$(BIN)/python tests/support/fault_matrix.py

load: .venv/dev.installed
	$(BIN)/python tests/load/load.py $(SIZE)

# All three wires, even after a finding. What was found and what reached something new is in .fuzz.
fuzz: .venv/fuzz.installed
	@found=0; for wire in dashscope responses chat_completions; do \
		nice $(BIN)/python tests/fuzz/fuzz_decoders.py $$wire -max_total_time=$(FUZZ_SECONDS) || { \
			found=1; echo "Failed. To see it again: $(BIN)/python tests/fuzz/fuzz_decoders.py" \
				"$$wire $$(ls -t .fuzz/$$wire-* 2>/dev/null | head -n 1)"; }; \
	done; exit $$found

# FILES="flow.py wire/sse.py" damages these only. All of them take about half an hour.
mutants: .venv/dev.installed
	$(BIN)/python tests/mutation $(FILES)

clean:
	rm -rf .venv .fuzz

.venv/demo.installed: EXTRAS = emulator,cli
.venv/dev.installed: EXTRAS = dev
.venv/bench.installed: EXTRAS = bench
.venv/fuzz.installed: EXTRAS = fuzz
.venv/%.installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/it."; exit 1; }
	$(PYTHON) -m venv .venv
