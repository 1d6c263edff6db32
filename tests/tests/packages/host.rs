//! A Debian that plays the host. It has both packages, a libvirtd without domains, and the image of a VM: a file on its
//! tmpfs, whose filesystem it mounts itself over a loop device, so that the agent beside the worker is that VM's guest. It
//! is called over vsock's loopback, and what it discards makes the image smaller.

use anyhow::{Result, ensure};
use trimtab_tests::guest::{Guest, Lease, Pool};

use crate::debian;
use crate::packages::built;

/// Where the host's deb lies.
pub(crate) const DEB: &str = "/root/trimtab.deb";

/// The image of the VM `one`, which nobody but QEMU's user may read.
pub(crate) const IMAGE: &str = "/srv/images/one.raw";

/// The filesystem in it.
pub(crate) const MOUNT: &str = "/mnt/one";

/// Where campaigns are kept.
pub(crate) const STORE: &str = "/var/lib/trimtab/trimtab.db";

/// The unit.
pub(crate) const WORKER: &str = "trimtab-worker.service";

static HOSTS: Pool = Pool::new(boot, clean);

/// A host, shared with other tests: no campaign was ever there, and the worker has never run.
pub(crate) fn lease() -> Result<Lease> {
    HOSTS.lease()
}

/// A Debian on which the host's deb lies, at [`DEB`], not installed.
pub(crate) fn bare(name: &str) -> Result<Guest> {
    // For images in memory, and QEMU's driver of libvirt.
    Guest::boot(debian::spec(name)?.memory_mib(1024).file(&built("trimtab_", ".deb")?, DEB))
}

fn boot() -> Result<Guest> {
    let guest = bare("host")?;
    guest.sh(&format!(
        "dpkg -i {DEB} 2>&1
         cp /etc/trimtab/trimtab.toml /root/trimtab.toml
         modprobe vsock_loopback"
    ))?;
    libvirt(&guest)?;
    image(&guest)?;
    agent(&guest)?;
    Ok(guest)
}

/// As Debian's libvirt-daemon-system sets it up, without polkit: who is in the group speaks to it.
fn libvirt(guest: &Guest) -> Result<()> {
    guest.sh(r#"printf 'u libvirt-qemu 64055 - /var/lib/libvirt\n' | systemd-sysusers -
         mkdir -p /etc/libvirt
         cat >/etc/libvirt/libvirtd.conf <<CONF
unix_sock_group = "libvirt"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
CONF
         cat >/etc/libvirt/qemu.conf <<CONF
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
CONF
         libvirtd -d"#)?;
    let socket = guest.sh("stat -c '%a %G' /run/libvirt/libvirt-sock")?;
    ensure!(socket.trim() == "770 libvirt", "{socket}");
    Ok(())
}

fn image(guest: &Guest) -> Result<()> {
    guest
        .sh(&format!(
            "mkdir -p /srv/images {MOUNT}
             mount -t tmpfs -o mode=711 images /srv/images
             truncate -s 512M {IMAGE}
             mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 {IMAGE} >&2
             mount -o loop {IMAGE} {MOUNT}
             chown libvirt-qemu:libvirt-qemu {IMAGE}
             chmod 600 {IMAGE}"
        ))
        .map(drop)
}

/// It answers this machine, and only calls from a privileged port: what the worker's CAP_NET_BIND_SERVICE is for.
fn agent(guest: &Guest) -> Result<()> {
    guest
        .sh("mkdir -p /etc/trimtab/agent.toml.d
             printf 'allow_cids = [1]\npeer_port = \"privileged\"\n' >/etc/trimtab/agent.toml.d/host.toml")
        .map(drop)
}

fn clean(guest: &Guest) -> Result<()> {
    guest.sh(&format!(
        "systemctl stop {WORKER} trimtab-agent.service
         rm -rf /var/lib/trimtab /run/trimtab-worker /run/trimtab-agent/* /run/systemd/system/*.d {MOUNT}/goes
         rm -f /etc/trimtab/fleet.toml /root/*-plan.toml
         cp /root/trimtab.toml /etc/trimtab/trimtab.toml
         systemctl daemon-reload
         systemctl reset-failed"
    ))?;
    Ok(())
}

/// Whose the store's files are.
pub(crate) fn owners(guest: &Guest) -> Result<String> {
    guest.sh("cd /var/lib/trimtab; stat -c '%n %U:%G %a' . *")
}

/// What `program` prints as a user without any of root's rights, in one group.
pub(crate) fn as_user(guest: &Guest, user: &str, group: &str, program: &str) -> Result<String> {
    guest.sh(&format!("setpriv --reuid {user} --regid {group} --clear-groups {program} 2>&1 || echo exit $?"))
}
