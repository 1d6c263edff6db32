//! How many errors the kernel has counted on a filesystem.
//!
//! - ext2, ext3, ext4: `errors_count`, which is the superblock's own count (fs/ext4/sysfs.c) and stands until fsck
//!   clears it. The kernel counts one whenever it marks the superblock as erroneous.
//! - btrfs: the statistics of each device, which stand until `btrfs device stats --reset` (fs/btrfs/sysfs.c, Linux
//!   5.14 and later).
//! - XFS counts none: it shuts down at the first one.

use super::{Roots, SysError, list, read_text};

/// The errors of the filesystem of this type that is mounted from these devices ("sda1"); `None` where nothing counts.
///
/// # Errors
/// [`SysError::Read`].
pub fn count(roots: &Roots, fs_type: &str, devices: &[&str]) -> Result<Option<u64>, SysError> {
    match fs_type {
        "ext2" | "ext3" | "ext4" => {
            let Some(device) = devices.first() else { return Ok(None) };
            let text = read_text(&roots.sys.join("fs/ext4").join(device).join("errors_count"))?;
            Ok(text.and_then(|text| text.parse().ok()))
        }
        "btrfs" => btrfs(roots, devices),
        _ => Ok(None),
    }
}

fn btrfs(roots: &Roots, devices: &[&str]) -> Result<Option<u64>, SysError> {
    let top = roots.sys.join("fs/btrfs");
    for uuid in list(&top)? {
        let members = list(&top.join(&uuid).join("devices"))?;
        if !members.iter().any(|member| devices.contains(&member.as_str())) {
            continue;
        }
        let infos = top.join(&uuid).join("devinfo");
        let mut sum: Option<u64> = None;
        for device in list(&infos)? {
            if let Some(text) = read_text(&infos.join(device).join("error_stats"))? {
                sum = Some(sum.unwrap_or(0).saturating_add(added_up(&text)));
            }
        }
        return Ok(sum);
    }
    Ok(None)
}

/// "write_errs 0", "corruption_errs 2", … a line each.
fn added_up(text: &str) -> u64 {
    let counts = text.lines().filter_map(|line| line.split_once(' ')?.1.trim().parse::<u64>().ok());
    counts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn counts() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots::under(dir.path());
        let put = |path: &str, text: &str| {
            let path = dir.path().join("sys/fs").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("ext4/sda1/errors_count", "0\n");
        put("ext4/dm-0/errors_count", "3\n");
        put("btrfs/features/raid1", "0\n");
        put("btrfs/old/devices/sdd", "");
        put("btrfs/uuid/devices/sdb", "");
        put("btrfs/uuid/devices/sdc", "");
        let stats = "write_errs 0\nread_errs 1\nflush_errs 0\ncorruption_errs 2\ngeneration_errs 0\n";
        put("btrfs/uuid/devinfo/1/error_stats", stats);
        put("btrfs/uuid/devinfo/2/error_stats", stats);
        for (name, fs_type, devices, expected) in [
            ("healthy", "ext4", &["sda1"][..], Some(0)),
            ("ext3 by ext4's code", "ext3", &["dm-0"], Some(3)),
            ("no such directory", "ext4", &["sdz"], None),
            ("no device", "ext4", &[], None),
            ("both devices", "btrfs", &["sdc"], Some(6)),
            ("before Linux 5.14", "btrfs", &["sdd"], None),
            ("not mounted", "btrfs", &["sdz"], None),
            ("xfs", "xfs", &["sda1"], None),
        ] {
            assert_eq!(count(&roots, fs_type, devices).unwrap(), expected, "{name}");
        }
    }
}
