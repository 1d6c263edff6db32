# What README and .ci/run call. Slow things (guest kernel, user-space vsock device) are kept in
# ${XDG_CACHE_HOME:-~/.cache}/trimtab, outside the clone.
.DEFAULT_GOAL := help
TRIPLE := $(shell uname -m)-unknown-linux-gnu
# An error in a test names what failed; twenty frames of the test harness below it do not help.
export RUST_LIB_BACKTRACE := 0

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: test
test: build agent-quick ## install what the rig needs, build, run all tests: unit, loop devices, real guests
	cargo test --workspace

.PHONY: build
build: ## build trimtab for the tests
	@tests/setup test
	cargo build -p trimtab

.PHONY: agent-quick
agent-quick: ## build the agent for the rig's guests: static, quick to build
	RUSTFLAGS="-C target-feature=+crt-static" cargo build -p trimtab-agent --profile quick --target $(TRIPLE)

.PHONY: guest
guest: agent-quick ## boot a throwaway guest with two disks and a shell on this terminal
	@tests/setup demo
	cargo run -q -p trimtab-tests --bin guest

# The builder's home and registry stand in panic messages otherwise.
AGENT_REMAP = --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo
.PHONY: agent-static
agent-static: ## build the agent as it is shipped: static, small
	RUSTFLAGS="-C target-feature=+crt-static $(AGENT_REMAP)" \
		cargo build -p trimtab-agent --profile agent --target $(TRIPLE)
	@ls -l target/$(TRIPLE)/agent/trimtab-agent | awk '{ print $$5 " bytes  " $$9 }'

.PHONY: check
check: ## formatting, clippy and licences, warnings as errors
	@tests/setup check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	PATH="$$PATH:$${XDG_CACHE_HOME:-$$HOME/.cache}/trimtab/tools/bin" cargo deny --offline check licenses bans sources
	shellcheck tests/setup tests/keep tests/guest/init tests/guest/build-image .ci/run

.PHONY: proto
proto: ## write the generated code of trimtab.v1 anew
	UPDATE_GENERATED=1 cargo test -q -p trimtab-proto --test generated
