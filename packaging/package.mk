# What is built for packages, and where it goes. `make package` wraps the result as deb and RPM; debian/rules and
# trimtab.spec call the same targets, so that a distribution's build installs the same files.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# The date that everything inside of a package has: that of the last commit; without git, that of the sources.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),$(shell stat -c %Y Cargo.toml))

# Where distributions differ.
DESTDIR ?=
UNITDIR ?= /usr/lib/systemd/system
UDEVDIR ?= /usr/lib/udev/rules.d
# qemu-ga runs what lies here before and after a freeze: /etc/qemu on Debian, /etc/qemu-ga on Fedora and its kin.
FREEZEDIR ?= /etc/qemu/fsfreeze-hook.d

.PHONY: package
package: ## deb and RPM of the agent and of trimtab, in target/packages
	@tests/setup package
	@$(MAKE) agent-static trimtab-release
	@packaging/build-deb $(VERSION)

.PHONY: trimtab-release
trimtab-release: ## build trimtab as it is packaged
	RUSTFLAGS="$(REMAP)" cargo build -p trimtab-controller --release --target $(TRIPLE) $(TRIMTAB_FEATURES)

AGENT_UNITS = trimtab-agent.socket trimtab-agent.service trimtab-trim.timer trimtab-trim.service
.PHONY: install-agent
install-agent:
	install -D -m 755 $(TARGET)/$(TRIPLE)/agent/trimtab-agent $(DESTDIR)/usr/bin/trimtab-agent
	install -D -m 644 packaging/agent.toml $(DESTDIR)/etc/trimtab/agent.toml
	install -D -m 755 packaging/guest/fsfreeze-hook.d/trimtab $(DESTDIR)$(FREEZEDIR)/trimtab
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) $(addprefix packaging/systemd/,$(AGENT_UNITS))
	install -D -m 644 -t $(DESTDIR)$(UDEVDIR) packaging/systemd/70-trimtab-agent.rules

.PHONY: install-trimtab
install-trimtab:
	install -D -m 755 $(TARGET)/$(TRIPLE)/release/trimtab $(DESTDIR)/usr/bin/trimtab

