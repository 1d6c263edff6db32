use std::ffi::OsString;

use trimtab_proto::words::DeviceUse;

use super::*;
use crate::{
    model::{Device, DiscardLimits, Identity},
    sys::{block::Md, mounts::Point},
};

fn id(major: u32, minor: u32) -> DevNum {
    DevNum { major, minor }
}

fn superblock(id: DevNum, fs_type: &str) -> Superblock {
    Superblock {
        id,
        fs_type: fs_type.to_owned(),
        source: OsString::from("/dev/x"),
        read_only: false,
        points: ["/data", "/srv/data"]
            .map(|path| Point { path: path.into(), covered: false, whole: true, deleted: false })
            .into(),
    }
}

fn block(id: DevNum, kind: DeviceKind, lower: &[DevNum], granularity: u64) -> Block {
    Block {
        device: Device {
            id,
            name: format!("dev{}", id.minor),
            kind,
            dm_uuid: String::new(),
            lower: lower.to_vec(),
            size: 1 << 30,
            read_only: false,
            discard: DiscardLimits { granularity: Some(granularity), ..DiscardLimits::default() },
            logical_block: 512,
            provisioning_mode: String::new(),
            identity: Identity::default(),
            discarded: None,
            written: None,
            used_for: DeviceUse::Unused,
        },
        md: None,
        dm_name: String::new(),
        backing_file: None,
        holders: vec![],
        dir: PathBuf::new(),
    }
}

/// Everything that a filesystem is judged by; a test changes what it is about.
struct Case {
    superblock: Superblock,
    blocks: Vec<Block>,
    reachable: bool,
    opted_out: Option<PathBuf>,
    frozen: Option<PathBuf>,
    kernel: &'static str,
    policy: Policy,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            superblock: superblock(id(8, 1), "ext4"),
            blocks: vec![
                block(id(8, 0), DeviceKind::Disk, &[], 4096),
                block(id(8, 1), DeviceKind::Partition, &[id(8, 0)], 4096),
            ],
            reachable: true,
            opted_out: None,
            frozen: None,
            kernel: "6.12.0",
            policy: Policy::default(),
        }
    }
}

impl Case {
    fn judge(self) -> Option<Skip> {
        let tops = [self.superblock.id];
        let blocks: Blocks = self.blocks.into_iter().collect();
        let stack = crate::sys::stack::walk(&tops, &blocks, &Default::default(), &|_| Vec::new());
        let kernel: Release = self.kernel.parse().unwrap();
        let candidate = Candidate {
            superblock: &self.superblock,
            reachable: self.reachable,
            stack: &stack,
            blocks: &blocks,
            opted_out: self.opted_out.as_deref(),
            frozen: self.frozen,
            kernel: Some(&kernel),
        };
        judge(&candidate, &self.policy)
    }

    fn reason(self) -> Option<SkipReason> {
        self.judge().map(|skip| skip.reason)
    }
}

fn of_type(id: DevNum, fs_type: &str) -> Case {
    Case { superblock: superblock(id, fs_type), ..Case::default() }
}

#[test]
fn types() {
    for (fs_type, number, reason) in [
        ("ext4", id(8, 1), None),
        ("ext2", id(8, 1), None),
        ("xfs", id(8, 1), None),
        ("vfat", id(8, 1), Some(SkipReason::Type)),
        ("ntfs3", id(8, 1), Some(SkipReason::Type)),
        ("fuseblk", id(8, 1), Some(SkipReason::Type)),
        ("zfs", id(0, 40), Some(SkipReason::Type)),
        ("tmpfs", id(0, 40), Some(SkipReason::Pseudo)),
        ("overlay", id(0, 40), Some(SkipReason::Pseudo)),
        ("fuse.gvfsd-fuse", id(0, 40), Some(SkipReason::Pseudo)),
        ("autofs", id(0, 40), Some(SkipReason::Pseudo)),
        ("nfs4", id(0, 40), Some(SkipReason::Network)),
        ("fuse.sshfs", id(0, 40), Some(SkipReason::Network)),
        ("virtiofs", id(0, 40), Some(SkipReason::Network)),
        ("9p", id(0, 40), Some(SkipReason::Network)),
    ] {
        assert_eq!(of_type(number, fs_type).reason(), reason, "{fs_type}");
    }
    let also = Policy { also_types: vec!["f2fs".to_owned(), "tmpfs".to_owned()], ..Policy::default() };
    assert_eq!(Case { policy: also.clone(), ..of_type(id(8, 1), "f2fs") }.reason(), None);
    let tmpfs = Case { policy: also, ..of_type(id(0, 40), "tmpfs") };
    assert_eq!(tmpfs.reason(), Some(SkipReason::Pseudo), "there is no disk to trim");
}

#[test]
fn what_its_owner_said() {
    let exclude =
        |pattern: &str| Policy { exclude: vec![glob::Pattern::new(pattern).unwrap()], ..Policy::default() };
    for (pattern, out) in [
        ("/data", true),
        ("/srv/*", true),
        ("/srv/d?ta", true),
        ("**/data", true),
        ("/*", true),
        ("/srv", false),
        ("/srv*", false),
        ("/dat", false),
        ("/data/*", false),
    ] {
        let reason = Case { policy: exclude(pattern), ..Case::default() }.reason();
        assert_eq!(reason == Some(SkipReason::OptedOut), out, "{pattern}");
    }
    let skip = Case { opted_out: Some("/data".into()), ..Case::default() }.judge().unwrap();
    assert_eq!(skip.text, "X-fstrim.notrim stands in /etc/fstab for /data");
    let skip = Case { policy: exclude("/srv/*"), ..Case::default() }.judge().unwrap();
    assert_eq!(skip.text, "the agent's configuration excludes /srv/data by \"/srv/*\"");
}

#[test]
fn what_its_owner_wants_alone() {
    let patterns = |list: &[&str]| list.iter().map(|p| glob::Pattern::new(p).unwrap()).collect::<Vec<_>>();
    let types = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    for (name, only, exclude, wanted_types, text) in [
        ("one of its mount points", vec!["/srv/*"], vec![], vec![], None),
        ("by name", vec!["/", "/data"], vec![], vec![], None),
        (
            "others",
            vec!["/", "/home"],
            vec![],
            vec![],
            Some("the agent's configuration trims /, /home alone"),
        ),
        ("both", vec!["/data"], vec!["/srv/*"], vec![], Some("the agent's configuration excludes /srv/data")),
        ("its type", vec![], vec![], vec!["xfs", "ext4"], None),
        ("another type", vec![], vec![], vec!["xfs"], Some("the agent's configuration trims xfs alone")),
    ] {
        let policy = Policy {
            only: patterns(&only),
            exclude: patterns(&exclude),
            types: types(&wanted_types),
            ..Policy::default()
        };
        let skip = Case { policy, ..Case::default() }.judge();
        let said = skip.as_ref().map(|skip| (skip.reason, skip.text.as_str()));
        match text {
            None => assert_eq!(said, None, "{name}"),
            Some(text) => {
                let (reason, said) = said.unwrap();
                assert!(reason == SkipReason::OptedOut && said.starts_with(text), "{name}: {said}");
            }
        }
    }
}

#[test]
fn how_it_is_mounted() {
    let mut read_only = Case::default();
    read_only.superblock.read_only = true;
    assert_eq!(read_only.reason(), Some(SkipReason::ReadOnly));
    assert_eq!(Case { reachable: false, ..Case::default() }.reason(), Some(SkipReason::OverMounted));
    let flag = PathBuf::from("/run/trimtab-agent/frozen/all");
    let skip = Case { frozen: Some(flag), ..Case::default() }.judge().unwrap();
    assert_eq!(skip.reason, SkipReason::Frozen);
    assert!(skip.text.ends_with("remove /run/trimtab-agent/frozen/all"), "{}", skip.text);
}

#[test]
fn the_layer_that_cuts_is_named() {
    let disk = |change: fn(&mut Device)| {
        let mut blocks = Case::default().blocks;
        blocks.iter_mut().for_each(|block| block.device.discard.granularity = Some(0));
        change(&mut blocks[0].device);
        Case { blocks, ..Case::default() }.judge().unwrap()
    };
    let skip = disk(|_| ());
    assert_eq!((skip.reason, skip.device), (SkipReason::NoDiscard, Some(id(8, 0))));
    assert_eq!(skip.text, "dev0 offers no discard to this guest: its host decides that (below dev1)");
    let skip = disk(|device| device.provisioning_mode = "disabled".to_owned());
    assert!(skip.text.contains("provisioning_mode disabled"), "{}", skip.text);
    let skip = disk(|device| {
        device.discard.max_bytes = Some(0);
        device.discard.max_hw_bytes = Some(1 << 30);
    });
    assert!(skip.text.contains("discards were switched off on dev0"), "{}", skip.text);

    let mut crypt = block(id(253, 0), DeviceKind::Crypt, &[id(8, 0)], 0);
    crypt.dm_name = "luks-root".to_owned();
    let blocks = vec![block(id(8, 0), DeviceKind::Disk, &[], 4096), crypt];
    let skip = Case { blocks, ..of_type(id(253, 0), "ext4") }.judge().unwrap();
    assert_eq!(skip.device, Some(id(253, 0)));
    assert!(skip.text.starts_with("dm-crypt luks-root passes no discards"), "{}", skip.text);
}

#[test]
fn a_device_that_was_pulled_out() {
    let skip = Case { blocks: vec![], ..Case::default() }.judge().unwrap();
    assert_eq!((skip.reason, skip.device), (SkipReason::NoDiscard, None));
    assert!(skip.text.contains("not in /sys/block"), "{}", skip.text);
}

#[test]
fn unknown_limits_are_no_reason() {
    let mut blocks = Case::default().blocks;
    blocks.iter_mut().for_each(|block| block.device.discard = DiscardLimits::default());
    assert_eq!(Case { blocks, ..Case::default() }.reason(), None, "FITRIM itself will tell");
}

#[test]
fn kernels_that_harm() {
    let array = |level: &str, layout: Option<u64>, sizes: [u64; 2]| {
        let mut members =
            [block(id(8, 0), DeviceKind::Disk, &[], 512), block(id(8, 16), DeviceKind::Disk, &[], 512)];
        for (member, size) in members.iter_mut().zip(sizes) {
            member.device.size = size;
        }
        let mut md = block(id(9, 0), DeviceKind::Md, &[id(8, 0), id(8, 16)], 512);
        md.md = Some(Md { level: level.to_owned(), layout });
        members.into_iter().chain([md]).collect::<Vec<_>>()
    };
    let mapped = || {
        vec![block(id(8, 0), DeviceKind::Disk, &[], 512), block(id(9, 0), DeviceKind::Lvm, &[id(8, 0)], 512)]
    };
    for (name, kernel, blocks, refused) in [
        ("raid0, unequal, original layout", "5.15.100", array("raid0", Some(1), [5, 6]), true),
        ("raid0, unequal, layout not told", "5.15.100", array("raid0", None, [5, 6]), true),
        ("raid0, unequal, alternate layout", "5.15.100", array("raid0", Some(2), [5, 6]), false),
        ("raid0, equal", "5.15.100", array("raid0", Some(1), [5, 5]), false),
        ("raid0, unequal, fixed", "5.15.121", array("raid0", Some(1), [5, 6]), false),
        ("raid0, unequal, fixed", "6.5.0", array("raid0", Some(1), [5, 6]), false),
        ("raid0, unequal, 6.4", "6.4.3", array("raid0", Some(1), [5, 6]), true),
        ("raid1", "5.15.100", array("raid1", None, [5, 6]), false),
        ("raid10, Ubuntu December 2020", "5.4.0-56-generic", array("raid10", None, [5, 5]), true),
        ("raid10, Ubuntu before it", "5.4.0-55-generic", array("raid10", None, [5, 5]), false),
        ("raid10, Ubuntu 2025", "5.15.0-144-generic", array("raid10", None, [5, 5]), true),
        ("raid10, mainline", "6.12.0", array("raid10", None, [5, 5]), false),
        ("dm", "5.1.2", mapped(), true),
        ("dm", "5.1.5", mapped(), false),
        ("linear", "4.0.1", array("linear", None, [5, 5]), true),
        ("linear", "3.13.0", array("linear", None, [5, 5]), false),
        ("raid5", "4.0.1", array("raid5", None, [5, 5]), false),
    ] {
        let case = Case { blocks, kernel, ..of_type(id(9, 0), "ext4") };
        let skip = case.judge();
        assert_eq!(
            skip.as_ref().map(|s| s.reason),
            refused.then_some(SkipReason::Kernel),
            "{name} on {kernel}"
        );
        assert!(skip.is_none_or(|s| s.text.contains(kernel)), "{name}: the release is told");
    }
}

#[test]
fn the_reason_that_stays_is_told_first() {
    let mut case = of_type(id(8, 1), "vfat");
    case.superblock.read_only = true;
    case.frozen = Some("/run/flag".into());
    assert_eq!(case.reason(), Some(SkipReason::Type));
    let mut case = Case { frozen: Some("/run/flag".into()), ..Case::default() };
    case.blocks.iter_mut().for_each(|block| block.device.discard.granularity = Some(0));
    assert_eq!(case.reason(), Some(SkipReason::NoDiscard));
}
