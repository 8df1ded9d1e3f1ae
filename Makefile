# The commands of this checkout. `make` lists them.
.PHONY: help test lint clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## run all tests
	cargo test --workspace --locked

lint: ## formatting and lints, warnings refused
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

clean: ## remove what was built
	cargo clean
