//! The filesystem of the host: whether it can punch holes into an image, and what makes the room that comes free differ
//! from what the image gave up.

use super::{DiskFacts, Finding, Layer, State, words};
use crate::model::image::{Datastore, Place};

/// fallocate(2) punches holes there (FALLOC_FL_PUNCH_HOLE). ext3 is ext4's driver since Linux 4.3.
const PUNCH: [&str; 12] = [
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "tmpfs",
    "zfs",
    "f2fs",
    "bcachefs",
    "gfs2",
    "ocfs2",
    "ceph",
    "hugetlbfs",
];

/// There it does not: no such operation in the kernel's fs/.
const NO_PUNCH: [&str; 8] = ["ramfs", "vfat", "msdos", "exfat", "9p", "jfs", "reiserfs", "hfsplus"];

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    let Some(image) = facts.image else { return Vec::new() };
    // A volume lies on none.
    let Some(store) = image.place.datastore.as_ref().filter(|_| image.place.volume.is_none()) else {
        return Vec::new();
    };
    let mut found = vec![punches(store)];
    found.extend(notes(&image.place, image.is_shared));
    found
}

fn punches(store: &Datastore) -> Finding {
    let name = store.fs_type.as_str();
    let open = |text: String| Finding::new(Layer::HostFilesystem, State::Open, text);
    match name {
        _ if PUNCH.contains(&name) => open(format!("{name} punches holes")),
        "nfs" | "nfs4" => nfs(store),
        _ if NO_PUNCH.contains(&name) => Finding::new(
            Layer::HostFilesystem,
            State::Cut,
            format!("{name} cannot punch holes: an image on it never shrinks"),
        )
        .short("host cannot punch")
        .fix("move the image to ext4, xfs or btrfs"),
        _ => Finding::new(
            Layer::HostFilesystem,
            State::Unknown,
            format!("not known whether {name} can punch holes"),
        )
        .short("host not known"),
    }
}

/// DEALLOCATE came with NFS 4.2 (RFC 7862).
fn nfs(store: &Datastore) -> Finding {
    let version = store.option("vers").and_then(|version| {
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    match version {
        Some(version) if version >= (4, 2) => {
            Finding::new(Layer::HostFilesystem, State::Open, "NFS 4.2 punches holes where its server can")
        }
        Some((major, minor)) => Finding::new(
            Layer::HostFilesystem,
            State::Cut,
            format!("NFS {major}.{minor} cannot punch holes: that came with 4.2"),
        )
        .short("NFS before 4.2")
        .fix(format!(
            "with the VMs of {} off, mount it with vers=4.2; QEMU tries again only after their power cycle",
            words::quoted(&store.path.to_string_lossy())
        )),
        None => Finding::new(Layer::HostFilesystem, State::Unknown, "NFS of a version that is not known")
            .short("NFS version unknown"),
    }
}

fn notes(place: &Place, is_shared: Option<bool>) -> Vec<Finding> {
    let note = |text: String| Finding::new(Layer::HostFilesystem, State::Note, text);
    let mut found = Vec::new();
    if is_shared == Some(true) {
        found.push(
            note("some extents are shared with a clone or snapshot, and come free only with it".to_owned())
                .short("shared extents")
                .fix("look for reflink copies and snapshots of the image; drop what you no longer need"),
        );
    }
    if place.is_compressed {
        found.push(note(
            "it may compress the image: what that occupies says little of what is in it".to_owned(),
        ));
    }
    if let Some(piece) = place.extent_size_hint_bytes {
        let piece = words::size(piece);
        found.push(note(format!("XFS allocates and frees the image in pieces of {piece} (extsize)")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layers::samples::Sample, model::volume::Volume};

    fn first(fs_type: &str, options: &str) -> Finding {
        let mut sample = Sample::raw();
        let store = sample.datastore();
        (store.fs_type, store.options) = (fs_type.into(), options.into());
        findings(&sample.facts()).remove(0)
    }

    #[test]
    fn who_can_punch() {
        for (fs_type, options, expected) in [
            ("ext4", "rw", State::Open),
            ("xfs", "rw", State::Open),
            ("btrfs", "rw", State::Open),
            ("zfs", "rw", State::Open),
            ("nfs4", "rw,vers=4.2,addr=192.0.2.1", State::Open),
            ("nfs4", "rw,vers=4.1", State::Cut),
            ("nfs", "rw,vers=3", State::Cut),
            ("nfs4", "rw,vers=new", State::Unknown),
            ("nfs4", "rw", State::Unknown),
            ("ramfs", "rw", State::Cut),
            ("vfat", "rw", State::Cut),
            ("fuse.sshfs", "rw", State::Unknown),
            ("cifs", "rw", State::Unknown),
        ] {
            assert_eq!(first(fs_type, options).state, expected, "{fs_type} {options}");
        }
    }

    #[test]
    fn what_else_is_known_of_it() {
        let mut sample = Sample::raw();
        assert_eq!(findings(&sample.facts()).len(), 1);
        sample.image.is_shared = Some(true);
        sample.image.place.is_compressed = true;
        sample.image.place.extent_size_hint_bytes = Some(1 << 20);
        let found = findings(&sample.facts());
        assert_eq!(found.len(), 4);
        assert!(found.iter().skip(1).all(|f| f.state == State::Note && f.held_bytes.is_none()));
        assert!(found[3].text.contains("1.0 MiB"), "{}", found[3].text);
    }

    #[test]
    fn a_volume_has_none() {
        let mut sample = Sample::raw();
        sample.image.place.volume = Some(Volume::Thick { kind: "disk", name: "sdb".into() });
        assert!(findings(&sample.facts()).is_empty());
    }
}
