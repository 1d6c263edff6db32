//! What tells a datastore from all others for as long as it exists: over reboots, which number devices anew, and over
//! hosts, which may share one. Blocking.
//!
//! | filesystem | identity |
//! |---|---|
//! | NFS, CIFS, GlusterFS, Lustre, … | `type:server:/export`, as it is mounted, the server in lower case |
//! | CephFS | `ceph:FSID.NAME`, by the mount (mount.ceph(8)) or debugfs, else `ceph:MONITORS` in order: folders share its room |
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
        return format!("ceph:{}", ceph(root, &source, &mount.options));
    }
    if NETWORK.contains(&fs_type) {
        return format!("{fs_type}:{}", exported(source.trim_end_matches('/')));
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

/// "nas:/export", "//nas/share": names of servers are the same in capitals (RFC 4343), those of folders are not.
fn exported(source: &str) -> String {
    let (slashes, rest) = match source.strip_prefix("//") {
        Some(rest) => ("//", rest),
        None => ("", source),
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (server, folder) = rest.split_at_checked(at).unwrap_or((rest, ""));
    format!("{slashes}{}{folder}", server.to_lowercase())
}

/// "user@FSID.NAME=/path" names the filesystem; the older "mon1,mon2:/path" only its monitors, in any order: the kernel's
/// client has a folder FSID.clientN in debugfs then, which tells where there is one cluster.
fn ceph(root: &Path, source: &str, options: &str) -> String {
    if let Some((filesystem, _)) = source.split_once('@').and_then(|(_, rest)| rest.split_once('=')) {
        return filesystem.to_owned();
    }
    let mut clusters: Vec<String> = entries(&root.join("sys/kernel/debug/ceph"))
        .filter_map(|client| Some(client.split_once(".client")?.0.to_owned()))
        .collect();
    clusters.dedup();
    if let [fsid] = clusters.as_slice() {
        let named = |option: &str| {
            option.strip_prefix("mds_namespace=").or(option.strip_prefix("fs=")).map(str::to_owned)
        };
        let name = options.split(',').find_map(named).unwrap_or_else(|| "cephfs".to_owned());
        return format!("{fsid}.{name}");
    }
    let monitors = source.split_once(":/").map_or(source, |(monitors, _)| monitors);
    let mut monitors: Vec<&str> = monitors.split(',').collect();
    monitors.sort_unstable();
    monitors.join(",")
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
            ("ceph", "mon2,mon1:/vms", "ceph:mon1,mon2"),
            ("ceph", "192.0.2.1:6789,192.0.2.2:6789:/", "ceph:192.0.2.1:6789,192.0.2.2:6789"),
            ("nfs", "NAS.Example.org:/Export", "nfs:nas.example.org:/Export"),
            ("cifs", "//NAS/Guests/a", "cifs://nas/Guests/a"),
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
    fn a_ceph_that_only_debugfs_names() {
        let root = tempfile::tempdir().unwrap();
        let mut one = mount("0:77", "ceph", "mon2,mon1:/vms");
        let clients = root.path().join("sys/kernel/debug/ceph");
        for (client, options, expected) in [
            ("f5a1.client4123", "rw,name=admin", "ceph:f5a1.cephfs"),
            ("f5a1.client4124", "rw,mds_namespace=guests", "ceph:f5a1.guests"),
            ("beef.client7", "rw", "ceph:mon1,mon2"),
        ] {
            fs::create_dir_all(clients.join(client)).unwrap();
            one.options = options.into();
            assert_eq!(of(root.path(), &one, "host"), expected, "{client}");
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
