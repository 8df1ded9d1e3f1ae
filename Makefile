# The commands of this checkout. `make` lists them.
.PHONY: help setup demo test storm load bench lint wheel man clean
.DELETE_ON_ERROR:

PYTHON ?= python3
export PYTHON

# What the package is built from.
SOURCES := $(shell find rust python packaging -name target -prune -o -type f \
	\( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name py.typed \) -print)

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## a virtual environment in .venv with the package, its program and what its tests need

demo: setup ## real HTTP through NAT, DR and TUN with every scheduler, in network namespaces
	.venv/bin/fastlvs demo

# Random cases are the same ones each time, so that what passed passes again; `make storm` draws others.
test: export PROPTEST_RNG_SEED := 1
# One run tells everything, briefly: a failure ends none of the three, and no report is long (pytest's would be,
# where CI is set; `make test RUST_BACKTRACE=1` shows more of Rust's).
test: export RUST_BACKTRACE := 0
test: setup ## run all tests
	@failed=; run() { echo "$$*"; "$$@" || failed=1; }; \
	run cargo test --workspace --locked --quiet --no-fail-fast; \
	run cargo test --locked --quiet --package fastlvs-core --features loom --lib loom_models; \
	run env -u CI -u BUILD_NUMBER .venv/bin/pytest -q --tb=short; \
	[ -z "$$failed" ]

storm: export PROPTEST_CASES := 3000
storm: setup ## look for what breaks with millions of random packets, others each time (10 minutes)
	cargo test --package fastlvs-core --locked
	.venv/bin/pytest -q --hypothesis-profile=default --hypothesis-seed=random tests/property
	.venv/bin/python tests/property/storm.py --frames 1000000 --seed $$(date +%s)

load: setup ## measure a director with 10,000 services and under floods (3 minutes; LOAD="--help" lists the options)
	.venv/bin/python tests/lab/load.py $(LOAD)

bench: ## what the engine costs in memory, beside the least that any forwarder must do (2 minutes; BENCH="CASE ..." runs some)
	cargo run --quiet --release --locked --package fastlvs-benches --bin compare -- $(BENCH)

lint: setup ## formatting, lints, types, links in comments and which file uses which; warnings refused
	$(PYTHON) tests/imports.py
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --document-private-items --locked --quiet
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/python -m mypy.stubtest fastlvs._core

wheel: .venv/tools ## build dist/*.whl, which brings fastlvs and fastlvs-run
	rm -f dist/*.whl
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .
	@ls -l dist/*.whl

man: ## the man page and the shell completions of fastlvs-run, into dist/
	cargo run --quiet --locked --package fastlvs-run --example generate dist

clean: ## remove what was built
	cargo clean
	rm -rf .venv dist

# The builder stays in the environment: a later build asks nothing of the network.
.venv/tools: pyproject.toml packaging/system-packages
	packaging/system-packages
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet 'maturin>=1.9,<2'
	@touch $@

.venv/ready: .venv/tools Cargo.toml Cargo.lock $(SOURCES)
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pip install --quiet --no-build-isolation '.[test,lint]'
	@touch $@
