# What README and .ci/run call. Slow things (guest kernel, user-space vsock device) are kept in
# ${XDG_CACHE_HOME:-~/.cache}/trimtab, outside the clone.
.DEFAULT_GOAL := help
TRIPLE := $(shell uname -m)-unknown-linux-gnu
# An error in a test names what failed; twenty frames of the test harness below it do not help.
export RUST_LIB_BACKTRACE := 0

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 22

# Static, so that it runs in any guest; the explicit target is what makes that possible. libvirt has no static form: a
# static trimtab is built with --no-default-features.
QUICK := RUSTFLAGS="-C target-feature=+crt-static" cargo build -q --profile quick --target $(TRIPLE)
TARGET := $${CARGO_TARGET_DIR:-target}

.PHONY: demo
demo: ## the whole way in a throwaway guest: a deleted file makes its image on the host smaller
	@tests/setup demo
	@echo "building trimtab, its agent and the demo"
	@$(QUICK) -p trimtab-agent -p trimtab-controller -p trimtab-tests --bins --no-default-features
	@$(TARGET)/$(TRIPLE)/quick/demo

.PHONY: test
test: ## install what the rig needs, build, run all tests: unit, loop devices, real guests
	@tests/setup test
	$(QUICK) -p trimtab-agent
	cargo --config 'target.$(TRIPLE).runner="$(CURDIR)/tests/runner"' test --workspace --no-fail-fast

.PHONY: test-packages
test-packages: package package-check ## the packages in a real Debian with systemd as PID 1
	@tests/setup test-packages
	cargo build -q -p trimtab-controller
	cargo --config 'target.$(TRIPLE).runner="$(CURDIR)/tests/runner"' test -p trimtab-tests --test packages --no-fail-fast

.PHONY: agent-quick
agent-quick: ## build the agent for the rig's guests
	$(QUICK) -p trimtab-agent

.PHONY: guest
guest: ## boot a throwaway guest with two disks and a shell on this terminal
	@tests/setup demo
	$(QUICK) -p trimtab-agent
	cargo run -q -p trimtab-tests --bin guest

# Packed relocations take a sixteenth off. Folding functions that are the same saves memory above all; lld can, which
# is what Rust links with on x86_64, other linkers may not. The builder's home and registry stand in panic messages
# otherwise.
FOLD = -C link-arg=-Wl,--icf=all
CAN_FOLD = d=$$(mktemp -d) && echo 'fn main() {}' | rustc $(FOLD) -o "$$d/x" - 2>/dev/null && echo yes; rm -r "$$d"
# A distribution that wants it dynamic leaves AGENT_LINK empty; its target says then how it links.
AGENT_LINK ?= -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs
AGENT_FLAGS = $(AGENT_LINK) $(if $(shell $(CAN_FOLD)),$(FOLD))
.PHONY: agent-static
agent-static: ## build the agent as it is shipped: static, small
	remap=$$(packaging/remap) && RUSTFLAGS="$(AGENT_FLAGS) $$remap" \
		cargo build -p trimtab-agent --profile agent --target $(TRIPLE)
	@ls -l $(TARGET)/$(TRIPLE)/agent/trimtab-agent | awk '{ print $$5 " bytes  " $$9 }'

include packaging/package.mk

.PHONY: bench
bench: agent-static ## how large the agent is, how fast campaigns and their store are, what a trim does to a writer (root, an hour)
	@tests/setup test
	@$(QUICK) -p trimtab-controller -p trimtab-tests --no-default-features --bin trimtab --bin bench --bin bench-store --bin bench-campaign --bin bench-kills --bin bench-fleet --bin bench-pace --bin bench-guest --bin bench-witness
	@$(TARGET)/$(TRIPLE)/quick/bench-store target/bench-store.json
	@$(TARGET)/$(TRIPLE)/quick/bench-campaign
	@$(TARGET)/$(TRIPLE)/quick/bench-kills
	@$(TARGET)/$(TRIPLE)/quick/bench-fleet
	@rm -f target/bench-guest.json
	@$(TARGET)/$(TRIPLE)/quick/bench-guest target/bench-guest.json
	@$$([ $$(id -u) = 0 ] || echo sudo -E) $(TARGET)/$(TRIPLE)/quick/bench-pace target/bench-pace.json
	@$(TARGET)/$(TRIPLE)/quick/bench target/bench.json

.PHONY: check
check: ## formatting, clippy and licences, warnings as errors
	@tests/setup check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy -p trimtab-tests --test packages -- -D warnings
	tests/deny
	shellcheck tests/setup tests/deny tests/keep tests/libvirtd tests/postgres tests/runner tests/guest/init tests/guest/shell tests/guest/kernel tests/guest/build-image tests/guest/systemd/build-image tests/guest/systemd/init tests/guest/packages tests/guest/qemu-ga agent/tests/fixtures/capture packaging/guest/fsfreeze-hook.d/trimtab packaging/build-deb packaging/build-rpm packaging/check packaging/dist packaging/remap .ci/run

.PHONY: proto
proto: ## write the generated code of trimtab.v1 anew
	UPDATE_GENERATED=1 cargo test -q -p trimtab-proto --test generated
