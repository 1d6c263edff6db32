//! The host filesystem that an image lies on: which, of what type, how full, and when its account is right. Blocking.

use std::{fs::File, path::Path, process::Command};

use super::{
    Failed, child, file, identity,
    mounts::{self, Mount},
    underneath::{self, Roots},
};
use crate::model::image::{Datastore, Place};

/// Where a file lies.
pub(super) fn place(path: &Path) -> Result<Place, Failed> {
    let mount = mount(path)?;
    let is_compressed = match mount.fs_type.as_str() {
        // Whoever may not open the file still knows the mount.
        "btrfs" => file::may_be_compressed(path, has_compression(&mount)).unwrap_or(has_compression(&mount)),
        // Whether a dataset compresses is the default and not to be seen in its mount.
        "zfs" => true,
        _ => false,
    };
    let extent_size_hint_bytes = if mount.fs_type == "xfs" { extent_size_hint(path) } else { None };
    let datastore = Some(measured(path, mount)?);
    Ok(Place { datastore, volume: None, is_compressed, extent_size_hint_bytes })
}

/// The datastore of a file.
pub(super) fn of(path: &Path) -> Result<Datastore, Failed> {
    measured(path, mount(path)?)
}

fn measured(path: &Path, mount: Mount) -> Result<Datastore, Failed> {
    let filesystem = rustix::fs::statvfs(path).map_err(std::io::Error::from)?;
    let underneath = underneath::of(&Roots::default(), &mount);
    let identity = identity::of(Path::new("/"), &mount, &crate::host::id());
    Ok(Datastore {
        id: mount.device,
        identity,
        path: mount.path,
        fs_type: mount.fs_type,
        options: mount.options,
        size_bytes: filesystem.f_blocks.saturating_mul(filesystem.f_frsize),
        free_bytes: filesystem.f_bfree.saturating_mul(filesystem.f_frsize),
        underneath,
    })
}

/// Brings the account of the filesystem up to date.
///
/// btrfs moves its free space, and some of st_blocks, at its commit: syncfs(2) makes one. ext4, xfs and tmpfs account
/// as they go; for the others `trim::settle` waits.
pub(super) fn settle(path: &Path) -> Result<(), Failed> {
    if mount(path)?.fs_type != "btrfs" {
        return Ok(());
    }
    // Of the directory: the image itself is never opened for this.
    let real = path.canonicalize()?;
    let directory = File::open(real.parent().unwrap_or(Path::new("/")))?;
    rustix::fs::syncfs(directory).map_err(std::io::Error::from)?;
    Ok(())
}

fn mount(path: &Path) -> Result<Mount, Failed> {
    let found = file::statx(path)?;
    mounts::of(path, &found)?.ok_or(Failed::NoMount)
}

/// btrfs(5): `compress`, `compress-force`.
fn has_compression(mount: &Mount) -> bool {
    mount.options.split(',').any(|option| option.starts_with("compress"))
}

/// XFS's extent size hint of a file, through xfs_io(8), which XFS's own tools bring along: its ioctl
/// (FS_IOC_FSGETXATTR) has no safe wrapper. Not known without it.
fn extent_size_hint(path: &Path) -> Option<u64> {
    let mut command = Command::new("xfs_io");
    command.args(["-r", "-c", "extsize"]).arg(path);
    parse_hint(&String::from_utf8_lossy(&child::output(command).ok()?))
}

/// "[65536] /guests/a.img": 0 is none.
fn parse_hint(said: &str) -> Option<u64> {
    let bytes: u64 = said.strip_prefix('[')?.split(']').next()?.parse().ok()?;
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_this_host() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let store = of(file.path()).unwrap();
        assert!(file.path().starts_with(&store.path), "{store:?}");
        assert!(store.free_bytes <= store.size_bytes && !store.fs_type.is_empty(), "{store:?}");
        let same = place(file.path()).unwrap();
        assert_eq!(same.datastore.unwrap().id, store.id);
        assert_eq!(same.volume, None);
        settle(file.path()).unwrap();
    }

    #[test]
    fn hints_as_xfs_io_prints_them() {
        for (said, expected) in [
            ("[65536] /guests/a.img\n", Some(65536)),
            ("[0] /guests/a.img\n", None),
            ("", None),
            ("/guests/a.img: Inappropriate ioctl\n", None),
            ("[99999999999999999999] /a\n", None),
        ] {
            assert_eq!(parse_hint(said), expected, "{said}");
        }
    }

    #[test]
    fn mount_options_that_compress() {
        for (options, expected) in
            [("rw,compress=zstd:1", true), ("rw,compress-force=lzo", true), ("rw,nodatacow", false)]
        {
            let mut one = mounts::tests::mount("0:40", "btrfs", "/dev/sdb");
            one.options = options.into();
            assert_eq!(has_compression(&one), expected, "{options}");
        }
    }
}
