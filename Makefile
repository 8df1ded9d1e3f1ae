# The commands of this checkout. `make` lists them.
.PHONY: help setup test lint clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## a virtual environment in .venv with the package and what its tests need

.venv/ready: pyproject.toml Cargo.lock $(shell find rust python -name '*.rs' -o -name '*.py' -o -name '*.pyi')
	python3 -m venv .venv
	.venv/bin/pip install --quiet '.[test]'
	touch $@

test: setup ## run all tests
	cargo test --workspace --locked
	.venv/bin/pytest -q

lint: ## formatting and lints, warnings refused
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

clean: ## remove what was built
	cargo clean
	rm -rf .venv
