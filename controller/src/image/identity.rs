//! What tells a datastore from all others for as long as it exists: over reboots, which number devices anew, and over
//! hosts, which may share one. Blocking.
//!
//! | filesystem | identity |
//! |---|---|
//! | NFS, CIFS, GlusterFS, Lustre, … | `type:server:/export`, as it is mounted |
//! | CephFS | `ceph:FSID.NAME`, where the mount names them (mount.ceph(8)), else as it is mounted |
//! | OCFS2, GFS2 | `type:UUID`: several hosts have it at once |
//! | ZFS | `zfs:POOL@MACHINE-ID`: datasets share their pool's room |
//! | any other with a UUID | `type:UUID@MACHINE-ID`, since cloned hosts have the same UUIDs |
//! | any other | `type:MOUNT-POINT@MACHINE-ID` |

use std::{fs, path::Path};

use super::{mounts::Mount, underneath};

/// Named by what is mounted, which is the same for all hosts.
const NETWORK: [&str; 8] = ["nfs", "cifs", "smb3", "ceph", "fuse.glusterfs", "glusterfs", "lustre", "gpfs"];

/// On a block device that several hosts mount at once.
const CLUSTER: [&str; 2] = ["ocfs2", "gfs2"];

/// The identity of what is mounted. `host` is this host's.
pub(super) fn of(root: &Path, mount: &Mount, host: &str) -> String {
    // One server speaks both.
    let fs_type = if mount.fs_type == "nfs4" { "nfs" } else { &mount.fs_type };
    let source = mount.source.to_string_lossy();
    if fs_type == "ceph" {
        return format!("ceph:{}", ceph(&source));
    }
    if NETWORK.contains(&fs_type) {
        return format!("{fs_type}:{}", source.trim_end_matches('/'));
    }
    if fs_type == "zfs" {
        let pool = source.split('/').next().unwrap_or(&source);
        return format!("zfs:{pool}@{host}");
    }
    match uuid(root, mount) {
        Some(uuid) if CLUSTER.contains(&fs_type) => format!("{fs_type}:{uuid}"),
        Some(uuid) => format!("{fs_type}:{uuid}@{host}"),
        None => format!("{fs_type}:{}@{host}", mount.path.display()),
    }
}

/// "user@FSID.NAME=/path" names the filesystem; the older "mon1,mon2:/path" only its monitors.
fn ceph(source: &str) -> &str {
    let named = source.split_once('@').and_then(|(_, rest)| rest.split_once('='));
    named.map_or(source, |(filesystem, _)| filesystem)
}

/// The UUID of the filesystem on a block device: btrfs's own word where it has several disks, else udev's links.
fn uuid(root: &Path, mount: &Mount) -> Option<String> {
    if mount.fs_type == "btrfs" {
        let device = fs::canonicalize(&mount.source).unwrap_or_else(|_| mount.source.clone());
        let name = device.file_name()?;
        let of_it = entries(&root.join("sys/fs/btrfs"))
            .find(|uuid| root.join("sys/fs/btrfs").join(uuid).join("devices").join(name).exists());
        if of_it.is_some() {
            return of_it;
        }
    }
    // A btrfs has a number of its own; what is mounted is one of its disks.
    let number = match mount.device.starts_with("0:") {
        true => underneath::number_of(&mount.source)?,
        false => mount.device.clone(),
    };
    let links = root.join("dev/disk/by-uuid");
    entries(&links).find(|uuid| underneath::number_of(&links.join(uuid)).as_deref() == Some(&number))
}

/// The names in a folder, in order; none where there is no such folder.
fn entries(folder: &Path) -> impl Iterator<Item = String> {
    let found = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::mounts::tests::mount;

    #[test]
    fn by_the_kind_of_filesystem() {
        let root = tempfile::tempdir().unwrap();
        let devices = root.path().join("sys/fs/btrfs/1234-abcd/devices");
        fs::create_dir_all(&devices).unwrap();
        fs::write(devices.join("sdb"), "").unwrap();
        for (fs_type, source, expected) in [
            ("nfs", "nas:/export", "nfs:nas:/export"),
            ("nfs4", "nas:/export/", "nfs:nas:/export"),
            ("nfs4", "[2001:db8::1]:/export", "nfs:[2001:db8::1]:/export"),
            ("cifs", "//nas/guests", "cifs://nas/guests"),
            ("fuse.glusterfs", "g1:/vol", "fuse.glusterfs:g1:/vol"),
            ("ceph", "admin@f5a1.guests=/vms", "ceph:f5a1.guests"),
            ("ceph", "mon1,mon2:/vms", "ceph:mon1,mon2:/vms"),
            ("zfs", "tank/guests/web", "zfs:tank@host"),
            ("btrfs", "/dev/sdb", "btrfs:1234-abcd@host"),
            ("btrfs", "/dev/sdc", "btrfs:/guests@host"),
            ("tmpfs", "tmpfs", "tmpfs:/guests@host"),
            ("ext4", "/dev/gone", "ext4:/guests@host"),
        ] {
            let one = mount("0:77", fs_type, source);
            assert_eq!(of(root.path(), &one, "host"), expected, "{fs_type} {source}");
        }
    }

    #[test]
    fn of_a_file_of_this_host_it_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = || crate::image::datastore::of(file.path()).unwrap().identity;
        assert_eq!(told(), told());
        assert!(told().contains(':'), "{}", told());
    }
}
