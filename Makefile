# Everything a checkout needs, and nothing else: Python 3.11+, make and a C compiler. Rust is used when cargo is there.
# Rule: every target sets up what it stands on, and a second run of it does no work twice (stamps live in the venv).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
CACHE := $(or $(XDG_CACHE_HOME),$(if $(HOME),$(HOME)/.cache,$(CURDIR)/build))/crossfade
# Outside the checkout, so that tools never walk gigabytes of objects; one for each checkout, for what cargo links last has
# one name for all of them, and a second one would be given the first one's.
export CARGO_TARGET_DIR ?= $(CACHE)/target/$(word 1,$(shell printf %s '$(CURDIR)' | cksum))
export NPM_CACHE_DIR ?= $(CACHE)/npm
export PATH := $(PATH):$(HOME)/.cargo/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
ifneq ($(origin CROSSFADE_REPORT_DIR),undefined)
RUN_FLAGS += --out $(CROSSFADE_REPORT_DIR)
endif

ROOTS := impls/crossfade harness/crossfade scenarios/crossfade reports/crossfade
RUST := impls/rust
RUST_SOURCES := $(shell find $(RUST) -name target -prune -o -type f \( -name '*.rs' -o -name '*.py' -o -name '*.pyi' -o -name '*.toml' \
	-o -name Cargo.lock \) -print 2>/dev/null)
CARGO := $(shell command -v cargo 2>/dev/null || PATH='$(PATH)' command -v cargo 2>/dev/null)
PYTEST_FLAGS ?=
CONFORMANCE_FLAGS ?=
# Most tests wait for processes: three workers keep two cores busy.
PYTEST_WORKERS ?= 3

# Without cargo the Rust variant cannot exist: tests are told so, and only then. In CI that is a failure, not a footnote.
ifeq ($(CARGO),)
ifneq ($(CI),true)
export CROSSFADE_NO_NATIVE := 1
endif
endif

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.stamp-python $(VENV)/.stamp-native ## Create .venv with both wheels and the tools (Rust when cargo is there)

$(VENV)/.stamp-venv:
	@python=''; for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
	  if command -v "$$candidate" >/dev/null && "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null; then python=$$candidate; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "setup: no Python 3.11 or newer found on PATH; install one, or name it: make setup PYTHON=/path/to/python3" >&2; \
	  exit 1; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "setup: $$python cannot make virtual environments; install its venv package (Debian: python3-venv)" >&2; \
	  exit 1; fi; \
	echo "setup: $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@# --group needs pip 25.1; the one inside Python may be older.
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.stamp-python: $(VENV)/.stamp-venv pyproject.toml
	@echo "setup: installing crossfade and its tools"
	@$(BIN)/python -m pip install --quiet --editable '.[uvloop]' --group dev
	@touch $@

# One stamp says that some native build is installed, the other that it is the full release: figures need the second,
# everything else takes either.
$(VENV)/.stamp-native: $(RUST_SOURCES) | $(VENV)/.stamp-python
	@$(MAKE) native-build PROFILE=quick-release STAMPS='$@' STALE='$(VENV)/.stamp-native-release'

$(VENV)/.stamp-native-release: $(RUST_SOURCES) | $(VENV)/.stamp-python
	@$(MAKE) native-build PROFILE=release STAMPS='$(VENV)/.stamp-native $@' STALE=

.PHONY: native-build
native-build:
ifeq ($(CARGO),)
	@if [ "$${CI:-}" = true ]; then \
	  echo "native: cargo not found, and CI needs the Rust variant; install a Rust toolchain (rustup.rs)" >&2; exit 1; fi; \
	echo "native: cargo not found, going on without the Rust variant; install a Rust toolchain and run make native" >&2
else
	@echo "native: building crossfade_native ($(PROFILE)) in $(CARGO_TARGET_DIR)"
	@VIRTUAL_ENV='$(abspath $(VENV))' $(BIN)/maturin develop --quiet --profile $(PROFILE) --manifest-path $(RUST)/py/Cargo.toml
	@rm -f $(STALE); touch $(STAMPS)
endif

.PHONY: native
native: $(VENV)/.stamp-native ## Build and install the Rust side, fast to compile (refused for figures)

.PHONY: native-release
native-release: $(VENV)/.stamp-native-release ## Build and install the Rust side as released (fat LTO; for figures)

.PHONY: check
check: check-python check-rust ## Everything CI checks without running: linters, types, formats, stubs, layout

.PHONY: check-python
check-python: setup ## ruff, mypy strict and the layout test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOTS) harness/asv_benchmarks tests
	$(BIN)/python -m pytest -q tests/test_layout.py

.PHONY: check-rust
check-rust: setup ## rustfmt, clippy and the native stubs
ifeq ($(CARGO),)
	@if [ "$${CI:-}" = true ]; then echo "check: cargo not found; install a Rust toolchain (rustup.rs)" >&2; exit 1; fi; \
	echo "check: cargo not found, rustfmt, clippy and stubtest left out" >&2
else
	cargo fmt --manifest-path $(RUST)/Cargo.toml --all --check
	cargo clippy --quiet --manifest-path $(RUST)/Cargo.toml --workspace --all-targets -- -D warnings
	$(BIN)/python -m mypy.stubtest crossfade_native
endif

.PHONY: test
test: setup test-rust ## Set everything up and pass all tests
	$(BIN)/python -m pytest --benchmark-disable -n $(PYTEST_WORKERS) --dist loadgroup $(PYTEST_FLAGS)

.PHONY: bridge-table
bridge-table: setup ## Run the grid of the bridge and write its table into README.md
	@mkdir -p build
	-$(BIN)/python -m pytest -q -n $(PYTEST_WORKERS) --bridge-json build/bridge.json tests/contract -k 'test_bridge'
	$(BIN)/python -m tests.contract.bridge_record build/bridge.json README.md

.PHONY: test-rust
test-rust: ## cargo test over the workspace
ifeq ($(CARGO),)
	@if [ "$${CI:-}" = true ]; then echo "test: cargo not found; install a Rust toolchain (rustup.rs)" >&2; exit 1; fi; \
	echo "test: cargo not found, the Rust tests are left out" >&2
else
	cargo test --quiet --manifest-path $(RUST)/Cargo.toml --workspace
	RUSTFLAGS='--cfg loom' cargo test --quiet --manifest-path $(RUST)/Cargo.toml --target-dir '$(CARGO_TARGET_DIR)/loom' \
	  --package crossfade-core --lib
endif

.PHONY: conformance
conformance: setup ## The official conformance suite against the gateway: every pairing of eras, python and rust (needs npm)
	$(BIN)/python -m tests.conformance.run $(CONFORMANCE_FLAGS)

.PHONY: test-tsan
test-tsan: ## Sixteen threads on registry, pool and breaker under ThreadSanitizer (nightly Rust with rust-src)
	RUSTFLAGS='-Zsanitizer=thread' cargo +nightly test --quiet --manifest-path $(RUST)/Cargo.toml -Zbuild-std \
	  --target x86_64-unknown-linux-gnu --target-dir '$(CARGO_TARGET_DIR)/tsan' --package crossfade-core --test hammer
	RUSTFLAGS='-Zsanitizer=thread' cargo +nightly test --quiet --manifest-path $(RUST)/Cargo.toml -Zbuild-std \
	  --target x86_64-unknown-linux-gnu --target-dir '$(CARGO_TARGET_DIR)/tsan' --package crossfade-runtime --lib hammer

FUZZ_SECONDS ?= 600
FUZZ_TARGETS := envelope translation request response events
FUZZ_DICT_envelope := json
FUZZ_DICT_translation := json
FUZZ_DICT_request := http
FUZZ_DICT_response := http
FUZZ_DICT_events := events
FUZZ_WORK := $(CACHE)/fuzz

.PHONY: fuzz
fuzz: setup ## Fuzz parsers and translators of both languages, FUZZ_SECONDS each (nightly Rust, cargo-fuzz, atheris)
	@cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz: cargo-fuzz not found; cargo install cargo-fuzz" >&2; exit 1; }
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --group fuzz
	@set -e; $(foreach t,$(FUZZ_TARGETS),mkdir -p '$(FUZZ_WORK)/$(t)'; echo "fuzz: $(t), $(FUZZ_SECONDS) s"; \
	  (cd $(RUST) && cargo +nightly fuzz run --fuzz-dir fuzz $(t) '$(FUZZ_WORK)/$(t)' fuzz/corpus/$(t) -- \
	    -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -dict=fuzz/dictionaries/$(FUZZ_DICT_$(t)).dict -verbosity=0 \
	    -print_final_stats=1);)
	@echo "fuzz: python, $(FUZZ_SECONDS) s"; mkdir -p '$(FUZZ_WORK)/python'
	@PYTHONPATH=. $(BIN)/python tests/fuzz/python_target.py -max_total_time=$(FUZZ_SECONDS) -max_len=2048 -verbosity=0 \
	  -print_final_stats=1 '$(FUZZ_WORK)/python' $(addprefix $(RUST)/fuzz/corpus/,$(FUZZ_TARGETS))

.PHONY: fuzz-smoke
fuzz-smoke: ## The same for a few seconds each, over the kept corpus
	@$(MAKE) fuzz FUZZ_SECONDS=5

.PHONY: bench
bench: $(VENV)/.stamp-python $(VENV)/.stamp-native-release ## Set everything up, measure every variant, print the report's path
	$(BIN)/crossfade run --profile quick $(RUN_FLAGS)

.PHONY: bench-micro
bench-micro: $(VENV)/.stamp-python $(VENV)/.stamp-native-release ## Per-call costs of the policy operations (pytest-benchmark)
	$(BIN)/python -m pytest tests/bench --benchmark-only --benchmark-autosave --benchmark-group-by=group \
	  --benchmark-storage=file://reports/micro

.PHONY: report
report: $(VENV)/.stamp-python ## Write the HTML page of the latest results again
	$(BIN)/crossfade report results/latest

.PHONY: readme
readme: $(VENV)/.stamp-python ## Take results/latest as the stored result behind README's figures and picture
	mkdir -p reports/baselines/quick
	cp results/latest/results.json reports/baselines/quick/results.json
	$(BIN)/crossfade report reports/baselines/quick --into README.md
	$(BIN)/crossfade report reports/baselines/quick --performance > docs/performance-report.md
	$(BIN)/python -m tests.reports.picture results/latest/report.html docs/report.png

.PHONY: catalogue
catalogue: $(VENV)/.stamp-python ## Write docs/catalogue.md from the scenarios' files
	$(BIN)/crossfade list scenarios --markdown > docs/catalogue.md

.PHONY: clean
clean: ## Remove the venv, caches and built files (results and the cargo cache stay)
	rm -f $(RUST)/py/python/crossfade_native/*.so
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks .asv build dist
	find . -name __pycache__ -prune -exec rm -rf {} +
