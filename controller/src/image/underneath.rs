//! What lies below a datastore: a disk of this host, memory, another machine. From sysfs and systemd's links; blocking.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{file, mounts::Mount};
use crate::model::image::Underneath;

/// Filesystems whose storage is another machine's.
const REMOTE: [&str; 9] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "fuse.glusterfs", "lustre", "gpfs"];

const TIMER: &str = "fstrim.timer";

/// Where this host tells of itself.
pub(super) struct Roots {
    sys: PathBuf,
    etc: PathBuf,
    run: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self::under(Path::new("/"))
    }
}

impl Roots {
    fn under(root: &Path) -> Self {
        Self { sys: root.join("sys"), etc: root.join("etc"), run: root.join("run") }
    }
}

/// What lies below a mount.
pub(super) fn of(roots: &Roots, mount: &Mount) -> Underneath {
    match mount.fs_type.as_str() {
        "tmpfs" | "ramfs" => return Underneath::Memory,
        remote if REMOTE.contains(&remote) => return Underneath::Remote,
        _ => {}
    }
    // A btrfs has a number of its own (0:40); what is mounted is one of its disks.
    let number =
        if mount.device.starts_with("0:") { number_of(&mount.source) } else { Some(mount.device.clone()) };
    number.and_then(|number| disk(roots, &number)).unwrap_or_default()
}

/// A block device's number, "8:1"; `None` for anything else.
pub(super) fn number_of(source: &Path) -> Option<String> {
    if !source.is_absolute() {
        return None;
    }
    let found = file::statx(source).ok()?;
    let kind = rustix::fs::FileType::from_raw_mode(found.stx_mode.into());
    kind.is_block_device().then(|| format!("{}:{}", found.stx_rdev_major, found.stx_rdev_minor))
}

/// A block device by its number. A partition has no queue: its disk's counts.
fn disk(roots: &Roots, number: &str) -> Option<Underneath> {
    let device = fs::canonicalize(roots.sys.join("dev/block").join(number)).ok()?;
    let is_partition = device.join("partition").exists();
    let disk = if is_partition { device.parent()?.to_owned() } else { device };
    let granularity = fs::read_to_string(disk.join("queue/discard_granularity")).ok()?;
    let discards = granularity.trim().parse::<u64>().ok()? > 0;
    let name = disk.file_name()?.to_string_lossy().into_owned();
    Some(Underneath::Disk { name, discards, timer: timer(roots) })
}

/// Whether systemd's weekly trim is enabled; `None` on a host without systemd.
fn timer(roots: &Roots) -> Option<bool> {
    // sd_booted(3).
    if !roots.run.join("systemd/system").exists() {
        return None;
    }
    let units = roots.etc.join("systemd/system");
    let is_masked = fs::read_link(units.join(TIMER)).is_ok_and(|target| target.ends_with("dev/null"));
    let is_enabled = fs::symlink_metadata(units.join("timers.target.wants").join(TIMER)).is_ok();
    Some(is_enabled && !is_masked)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::image::mounts::tests::mount;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A host with the disk sda (8:0), its partition sda1 (8:1), and sdb (8:16), which cannot discard.
    fn host(root: &Path) -> Roots {
        write(&root.join("sys/devices/sda/queue/discard_granularity"), "512\n");
        write(&root.join("sys/devices/sda/sda1/partition"), "1\n");
        write(&root.join("sys/devices/sdb/queue/discard_granularity"), "0\n");
        fs::create_dir_all(root.join("sys/dev/block")).unwrap();
        for (number, device) in [("8:0", "sda"), ("8:1", "sda/sda1"), ("8:16", "sdb")] {
            symlink(format!("../../devices/{device}"), root.join("sys/dev/block").join(number)).unwrap();
        }
        Roots::under(root)
    }

    #[test]
    fn what_lies_below() {
        let root = tempfile::tempdir().unwrap();
        let roots = host(root.path());
        let a_disk = |name: &str, discards| Underneath::Disk { name: name.into(), discards, timer: None };
        for (name, device, fs_type, source, expected) in [
            ("a partition", "8:1", "ext4", "/dev/sda1", a_disk("sda", true)),
            ("a whole disk", "8:16", "xfs", "/dev/sdb", a_disk("sdb", false)),
            ("gone", "8:99", "ext4", "/dev/sdz", Underneath::Unknown),
            ("memory", "0:51", "tmpfs", "tmpfs", Underneath::Memory),
            ("another machine", "0:50", "nfs4", "server:/export", Underneath::Remote),
            ("a dataset", "0:60", "zfs", "tank/guests", Underneath::Unknown),
            ("a source that is no device", "0:40", "btrfs", "/dev/null", Underneath::Unknown),
        ] {
            assert_eq!(of(&roots, &mount(device, fs_type, source)), expected, "{name}");
        }
    }

    #[test]
    fn the_hosts_own_timer() {
        let root = tempfile::tempdir().unwrap();
        let roots = host(root.path());
        assert_eq!(timer(&roots), None, "no systemd");
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        assert_eq!(timer(&roots), Some(false), "not enabled");
        let units = root.path().join("etc/systemd/system");
        fs::create_dir_all(units.join("timers.target.wants")).unwrap();
        symlink("/usr/lib/systemd/system/fstrim.timer", units.join("timers.target.wants/fstrim.timer"))
            .unwrap();
        assert_eq!(timer(&roots), Some(true), "the link need not resolve from here");
        symlink("/dev/null", units.join(TIMER)).unwrap();
        assert_eq!(timer(&roots), Some(false), "masked");
    }
}
