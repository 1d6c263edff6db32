//! A block device of the host that is an image. Blocking.
//!
//! ```text
//! sysfs: dm/name? ──no──> thick: partition, disk, array, loop device
//!     │ yes
//! dmsetup table: thin? ──no──> thick: logical volume (linear, striped, …), encrypted, multipath
//!     │ yes
//! dmsetup status of the volume and of its pool; lvs for the names of what shares blocks with it
//! ```

mod dm;
mod lvs;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    Failed,
    child::{self, NotTold},
};
use crate::model::{
    image::{Datastore, Place, Underneath},
    volume::{ThinPool, ThinVolume, Volume},
};

/// A device's number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Number(String);

impl Number {
    /// As statx and sysfs have it.
    pub(super) fn new(major: u32, minor: u32) -> Self {
        Self(format!("{major}:{minor}"))
    }
}

/// What a block device is, and the pool that it shares, which is its datastore.
pub(super) fn place(number: &Number) -> Place {
    let volume = look(Path::new("/sys"), number);
    let datastore = match &volume {
        Volume::Thin(thin) => Some(datastore(&thin.pool)),
        Volume::Thick { .. } | Volume::Unknown(_) => None,
    };
    Place { datastore, volume: Some(volume), ..Place::default() }
}

/// A pool as a datastore.
pub(super) fn datastore(pool: &ThinPool) -> Datastore {
    Datastore {
        id: pool.id.clone(),
        identity: format!("thin-pool:{}@{}", pool.name, crate::host::id()),
        path: Path::new("/dev/mapper").join(&pool.name),
        fs_type: "thin-pool".to_owned(),
        options: String::new(),
        size_bytes: pool.data.size_bytes,
        free_bytes: pool.data.free_bytes(),
        underneath: Underneath::Unknown,
    }
}

/// What a thin volume maps now; `None` for any other device.
pub(super) fn mapped_bytes(number: &Number) -> Result<Option<u64>, Failed> {
    let Some(name) = dm_name(Path::new("/sys"), number) else { return Ok(None) };
    if !matches!(thin_table(number), Ok(Some(_))) {
        return Ok(None);
    }
    let said = dmsetup("status", number)?;
    dm::mapped_bytes(&said).map(Some).ok_or(Failed::ThinVolume(name))
}

/// Whether a thin volume has snapshots, or is one; `None` for any other device, and where LVM could not be asked.
pub(super) fn shares_blocks(number: &Number) -> Option<bool> {
    match look(Path::new("/sys"), number) {
        Volume::Thin(thin) => thin.relatives.map(|relatives| !relatives.is_empty()),
        Volume::Thick { .. } | Volume::Unknown(_) => None,
    }
}

fn look(sys: &Path, number: &Number) -> Volume {
    let Some(name) = dm_name(sys, number) else { return plain(sys, number) };
    match thin(&name, number) {
        Ok(Some(thin)) => Volume::Thin(thin),
        Ok(None) => Volume::Thick { kind: kind_of_dm(sys, number), name },
        Err(why) => Volume::Unknown(why.to_string()),
    }
}

fn thin(name: &str, number: &Number) -> Result<Option<ThinVolume>, Failed> {
    let Some(pool) = thin_table(number)? else { return Ok(None) };
    let nonsense = || Failed::ThinVolume(name.to_owned());
    let mapped_bytes = dm::mapped_bytes(&dmsetup("status", number)?).ok_or_else(nonsense)?;
    let Some(dm::Table::Pool { chunk_bytes }) = dm::table(&dmsetup("table", &pool)?) else {
        return Err(nonsense());
    };
    let status = dm::pool(&dmsetup("status", &pool)?, chunk_bytes).ok_or_else(nonsense)?;
    let pool_name = dm_name(Path::new("/sys"), &pool).unwrap_or_else(|| pool.0.clone());
    Ok(Some(ThinVolume {
        name: name.to_owned(),
        mapped_bytes,
        pool: ThinPool {
            id: pool.0,
            name: pool_name,
            chunk_bytes,
            data: status.data,
            metadata: status.metadata,
            discards: status.discards,
            trouble: status.trouble,
        },
        relatives: relatives(name),
    }))
}

/// The number of a thin volume's pool.
fn thin_table(number: &Number) -> Result<Option<Number>, NotTold> {
    Ok(match dm::table(&dmsetup("table", number)?) {
        Some(dm::Table::Thin { pool }) => Some(Number(pool)),
        Some(dm::Table::Pool { .. } | dm::Table::Other(_)) | None => None,
    })
}

/// The names of what may share blocks, in LVM's own words; it reads its metadata without any lock.
fn relatives(name: &str) -> Option<Vec<String>> {
    let (group, volume) = dm::lvm_names(name)?;
    let mut command = Command::new("lvs");
    command.args(["--readonly", "--all", "--reportformat", "json", "-o", lvs::COLUMNS, "--", &group]);
    let found = lvs::relatives(&child::output(command).ok()?, &volume)?;
    Some(found.into_iter().map(|volume| format!("{group}/{volume}")).collect())
}

fn dmsetup(verb: &str, number: &Number) -> Result<String, NotTold> {
    let (major, minor) = number.0.split_once(':').unwrap_or_default();
    let mut command = Command::new("dmsetup");
    command.args([verb, "--major", major, "--minor", minor]);
    Ok(String::from_utf8_lossy(&child::output(command)?).into_owned())
}

fn sysfs(sys: &Path, number: &Number) -> PathBuf {
    sys.join("dev/block").join(&number.0)
}

fn dm_name(sys: &Path, number: &Number) -> Option<String> {
    let name = fs::read_to_string(sysfs(sys, number).join("dm/name")).ok()?;
    Some(name.trim_end().to_owned())
}

/// dm/uuid begins with who made the device.
fn kind_of_dm(sys: &Path, number: &Number) -> &'static str {
    let uuid = fs::read_to_string(sysfs(sys, number).join("dm/uuid")).unwrap_or_default();
    match uuid.split('-').next() {
        Some("LVM") => "logical volume",
        Some("CRYPT") => "encrypted volume",
        Some("mpath") => "multipath disk",
        _ => "mapped device",
    }
}

fn plain(sys: &Path, number: &Number) -> Volume {
    let device = sysfs(sys, number);
    let Ok(real) = fs::canonicalize(&device) else {
        return Volume::Unknown(format!("{} is not in sysfs", device.display()));
    };
    let kind = [("partition", "partition"), ("md", "array"), ("loop", "loop device")]
        .into_iter()
        .find_map(|(entry, kind)| real.join(entry).exists().then_some(kind))
        .unwrap_or("disk");
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Volume::Thick { kind, name }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_mapped_device() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path();
        fs::create_dir_all(sys.join("dev/block")).unwrap();
        for (number, device, entry) in [
            ("8:0", "sda", "queue"),
            ("8:1", "sda/sda1", "partition"),
            ("9:0", "md0", "md"),
            ("7:0", "loop0", "loop"),
        ] {
            fs::create_dir_all(sys.join("devices").join(device).join(entry)).unwrap();
            symlink(format!("../../devices/{device}"), sys.join("dev/block").join(number)).unwrap();
        }
        let thick = |kind, name: &str| Volume::Thick { kind, name: name.into() };
        for (number, expected) in [
            (Number::new(8, 0), thick("disk", "sda")),
            (Number::new(8, 1), thick("partition", "sda1")),
            (Number::new(9, 0), thick("array", "md0")),
            (Number::new(7, 0), thick("loop device", "loop0")),
        ] {
            assert_eq!(look(sys, &number), expected, "{number:?}");
        }
        assert!(matches!(look(sys, &Number::new(1, 1)), Volume::Unknown(_)));
    }

    #[test]
    fn a_mapped_device_by_who_made_it() {
        let root = tempfile::tempdir().unwrap();
        let dm = root.path().join("dev/block/253:0/dm");
        fs::create_dir_all(&dm).unwrap();
        fs::write(dm.join("name"), "vg0-web\n").unwrap();
        let number = Number::new(253, 0);
        assert_eq!(dm_name(root.path(), &number).as_deref(), Some("vg0-web"));
        for (uuid, expected) in [
            ("LVM-abc", "logical volume"),
            ("CRYPT-LUKS2-abc", "encrypted volume"),
            ("mpath-36001", "multipath disk"),
            ("", "mapped device"),
        ] {
            fs::write(dm.join("uuid"), uuid).unwrap();
            assert_eq!(kind_of_dm(root.path(), &number), expected);
        }
    }
}
