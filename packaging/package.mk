# What is built for packages, and where it goes. `make package` wraps the result as deb and RPM; debian/rules and
# trimtab.spec call the same targets, so that a distribution's build installs the same files.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# The date that everything inside of a package has: that of the last commit; without git, that of the sources.
export SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),$(shell stat -c %Y Cargo.toml))

# Where distributions differ.
DESTDIR ?=
UNITDIR ?= /usr/lib/systemd/system
UDEVDIR ?= /usr/lib/udev/rules.d
SYSUSERSDIR ?= /usr/lib/sysusers.d
ZSHDIR ?= /usr/share/zsh/vendor-completions
# qemu-ga runs what lies here before and after a freeze: /etc/qemu on Debian, /etc/qemu-ga on Fedora and its kin.
FREEZEDIR ?= /etc/qemu/fsfreeze-hook.d

.PHONY: package
package: ## deb and RPM of the agent and of trimtab, in target/packages
	@tests/setup package
	@$(MAKE) package-build
	@packaging/build-deb $(VERSION)
	@packaging/build-rpm

.PHONY: package-check
package-check: ## hold those packages to what they promise; FULL=yes builds the host's a second time, too
	@tests/setup package
	@packaging/check $(if $(FULL),full)

.PHONY: dist
dist: ## the tarballs and the spec that distributions build from, in target/packages
	@packaging/dist $(VERSION)

# AGENT_ONLY=yes: the guest's package alone, which needs no libvirt to build.
.PHONY: package-build
package-build: agent-static package-texts $(if $(AGENT_ONLY),,trimtab-release)

.PHONY: trimtab-release
trimtab-release: ## build trimtab as it is packaged
	remap=$$(packaging/remap) && RUSTFLAGS=$$remap \
		cargo build -p trimtab-controller --release --target $(TRIPLE) $(TRIMTAB_FEATURES)

# Man pages, completions, and the notices that licences of linked crates ask for; a static agent has glibc inside too.
TEXTS := target/package-texts
GEN := cargo run -q --locked -p trimtab-gen --
AGENT_ALSO ?= packaging/linked-statically $(or $(firstword $(wildcard /usr/share/doc/libc6-dev/copyright \
	/usr/share/licenses/glibc*/LICENSES)),$(error nothing here has the notices of glibc (libc6-dev, glibc-devel)))
.PHONY: package-texts
package-texts:
	$(GEN) pages $(TEXTS) --date $(SOURCE_DATE_EPOCH)
	$(GEN) notices $(TEXTS)/trimtab-agent/THIRD-PARTY-LICENSES $(addprefix --also ,$(AGENT_ALSO)) \
		-- --package trimtab-agent --target $(TRIPLE)
	$(GEN) notices $(TEXTS)/trimtab/THIRD-PARTY-LICENSES --also packaging/linked \
		-- --package trimtab-controller --target $(TRIPLE) $(TRIMTAB_FEATURES)

# install-texts NAME: pages and completions of a program.
define install-texts
install -D -m 644 -t $(DESTDIR)/usr/share/man/man1 $(TEXTS)/$1/*.1
install -D -m 644 -t $(DESTDIR)/usr/share/man/man5 $(TEXTS)/$1/*.5
install -D -m 644 $(TEXTS)/$1/$1.bash $(DESTDIR)/usr/share/bash-completion/completions/$1
install -D -m 644 $(TEXTS)/$1/_$1 $(DESTDIR)$(ZSHDIR)/_$1
install -D -m 644 $(TEXTS)/$1/$1.fish $(DESTDIR)/usr/share/fish/vendor_completions.d/$1.fish
endef

AGENT_UNITS = trimtab-agent.socket trimtab-agent.service trimtab-trim.timer trimtab-trim.service
.PHONY: install-agent
install-agent:
	install -D -m 755 $(TARGET)/$(TRIPLE)/agent/trimtab-agent $(DESTDIR)/usr/bin/trimtab-agent
	install -D -m 644 packaging/agent.toml $(DESTDIR)/etc/trimtab/agent.toml
	install -D -m 755 packaging/guest/fsfreeze-hook.d/trimtab $(DESTDIR)$(FREEZEDIR)/trimtab
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) $(addprefix packaging/systemd/,$(AGENT_UNITS))
	install -D -m 644 -t $(DESTDIR)$(UDEVDIR) packaging/systemd/70-trimtab-agent.rules
	$(call install-texts,trimtab-agent)

.PHONY: install-trimtab
install-trimtab:
	install -D -m 755 $(TARGET)/$(TRIPLE)/release/trimtab $(DESTDIR)/usr/bin/trimtab
	install -D -m 644 packaging/trimtab.toml $(DESTDIR)/etc/trimtab/trimtab.toml
	install -D -m 644 -t $(DESTDIR)$(UNITDIR) packaging/systemd/trimtab-worker.service
	install -D -m 644 -t $(DESTDIR)$(SYSUSERSDIR) packaging/sysusers/trimtab.conf
	install -D -m 644 -t $(DESTDIR)/usr/share/trimtab/dashboards packaging/dashboards/*.json
	$(call install-texts,trimtab)

