use proptest::prelude::*;

use super::*;

fn read_text(text: &str) -> Vec<Superblock> {
    superblocks(&parse(Path::new("mountinfo"), text.as_bytes()).unwrap())
}

fn points(block: &Superblock) -> Vec<(&str, bool)> {
    block.points.iter().map(|p| (p.path.to_str().unwrap(), p.covered)).collect()
}

#[test]
fn one_superblock_however_often_it_is_mounted() {
    let blocks = read_text(
        "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
         28 27 0:25 / /proc rw - proc proc rw\n\
         29 27 254:0 /srv/a\\040b /mnt ro,relatime shared:1 master:2 - ext4 /dev/vda rw,discard\n",
    );
    assert_eq!(blocks.len(), 2);
    assert_eq!(points(&blocks[0]), [("/", false), ("/mnt", false)]);
    assert!(!blocks[0].read_only, "a read-only bind mount leaves the superblock writable");
    assert!(!blocks[0].points[1].whole);
}

#[test]
fn the_superblock_decides_what_is_read_only() {
    let line = |mount: &str, super_: &str| format!("1 0 8:1 / / {mount} - xfs /dev/sda1 {super_}\n");
    for (mount, super_, read_only) in [
        ("ro,relatime", "rw,attr2", false),
        ("rw,relatime", "ro,norecovery", true),
        ("rw", "rw,errors=remount-ro", false),
        ("ro", "", false),
    ] {
        assert_eq!(read_text(&line(mount, super_))[0].read_only, read_only, "{mount} {super_}");
    }
}

#[test]
fn covered_mount_points() {
    struct Case(&'static str, &'static str, &'static [(&'static str, bool)]);
    let cases = [
        Case(
            "another filesystem on the same point",
            "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /mnt rw - ext4 b rw\n3 2 8:3 / /mnt rw - ext4 c rw\n",
            &[("/mnt", true)],
        ),
        Case(
            "another filesystem above it, mounted later",
            "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /a/b rw - ext4 b rw\n3 1 8:3 / /a rw - ext4 c rw\n",
            &[("/a/b", true)],
        ),
        Case(
            "its parent is covered",
            "1 0 8:1 / / rw - ext4 a rw\n5 1 8:5 / /m rw - ext4 e rw\n2 5 8:2 / /m/x rw - ext4 b rw\n6 5 8:6 / /m rw - tmpfs f rw\n",
            &[("/m/x", true)],
        ),
        Case(
            "a neighbour whose name begins alike covers nothing",
            "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /a/bc rw - ext4 b rw\n3 1 8:3 / /a/b rw - ext4 c rw\n",
            &[("/a/bc", false)],
        ),
        Case(
            "the longer way in is the open one",
            "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /m rw - ext4 b rw\n3 2 8:3 / /m rw - ext4 c rw\n4 1 8:2 / /elsewhere rw - ext4 b rw\n",
            &[("/elsewhere", false), ("/m", true)],
        ),
        Case(
            "below a mount that lies on another",
            "1 0 8:1 / / rw - ext4 a rw\n5 1 8:5 / /m rw - ext4 e rw\n6 5 8:6 / /m rw - tmpfs f rw\n2 6 8:2 / /m/x rw - ext4 b rw\n",
            &[("/m/x", false)],
        ),
        Case(
            "the root lies on the kernel's own",
            "1 1 0:1 / / rw - rootfs rootfs rw\n3 1 8:3 / / rw - ext4 a rw\n2 3 8:2 / /m rw - ext4 b rw\n",
            &[("/m", false)],
        ),
        Case(
            "on top of what another covers from above",
            "1 0 8:1 / / rw - ext4 a rw\n5 1 8:5 / /a/b rw - ext4 e rw\n2 5 8:2 / /a/b rw - ext4 b rw\n3 1 8:3 / /a rw - ext4 c rw\n",
            &[("/a/b", true)],
        ),
        Case("a mount that is its own parent", "2 2 8:2 / / rw - ext4 b rw\n", &[("/", false)]),
        Case(
            "numbers that go round in a circle",
            "2 3 8:2 / /a rw - ext4 b rw\n3 2 8:3 / /b rw - ext4 c rw\n",
            &[("/a", false)],
        ),
    ];
    for Case(name, text, expected) in cases {
        let blocks = read_text(text);
        let block = blocks.iter().find(|b| b.id == DevNum { major: 8, minor: 2 }).unwrap();
        assert_eq!(points(block), expected, "{name}");
    }
}

#[test]
fn a_removed_root_is_the_last_choice() {
    let blocks =
        read_text("2 1 8:2 /gone//deleted /m rw - ext4 b rw\n3 1 8:2 /kept /much/longer rw - ext4 b rw\n");
    assert_eq!(points(&blocks[0]), [("/much/longer", false), ("/m", false)]);
}

#[test]
fn a_line_that_is_none_is_shown() {
    let error = parse(Path::new("/proc/self/mountinfo"), b"1 0 8:1 / / rw ext4\n").unwrap_err();
    assert_eq!(error.to_string(), "/proc/self/mountinfo: \"1 0 8:1 / / rw ext4\" is not a line of mountinfo");
}

#[test]
fn names_need_not_be_utf8() {
    let mounts = parse(Path::new("m"), b"1 0 8:1 / /caf\xe9\\134\\012x rw - ext4 /dev/sda1 rw\n").unwrap();
    assert_eq!(mounts[0].point.as_os_str().as_bytes(), b"/caf\xe9\\\nx");
}

/// Writes a line as the kernel does (fs/proc_namespace.c: `show_mountinfo`).
fn print(mount: &Mount) -> Vec<u8> {
    let escape = |text: &std::ffi::OsStr| {
        text.as_bytes().iter().fold(Vec::new(), |mut out, byte| {
            if b" \t\n\\#".contains(byte) {
                out.extend(format!("\\{byte:03o}").bytes());
            } else {
                out.push(*byte);
            }
            out
        })
    };
    let mut words = vec![
        mount.id.to_string().into_bytes(),
        mount.parent.to_string().into_bytes(),
        mount.device.to_string().into_bytes(),
        escape(mount.root.as_os_str()),
        escape(mount.point.as_os_str()),
        escape(&mount.options),
    ];
    words.extend(mount.optional.iter().map(|field| escape(field)));
    words.push(b"-".to_vec());
    words.push(escape(std::ffi::OsStr::new(&mount.fs_type)));
    words.push(escape(&mount.source));
    words.push(escape(&mount.super_options));
    words.join(&b' ')
}

fn bytes() -> impl Strategy<Value = OsString> {
    prop::collection::vec(1u8..=255, 1..24).prop_map(OsString::from_vec)
}

prop_compose! {
    fn any_mount()(
        ids in any::<(u32, u32, u32, u32)>(),
        root in bytes(),
        point in bytes(),
        options in bytes(),
        optional in prop::collection::vec("[a-z_]{1,12}:[0-9]{1,4}", 0..4),
        fs_type in "[a-z0-9.]{1,12}",
        source in bytes(),
        super_options in bytes(),
    ) -> Mount {
        Mount {
            id: ids.0,
            parent: ids.1,
            device: DevNum { major: ids.2, minor: ids.3 },
            root: root.into(),
            point: point.into(),
            options,
            optional: optional.into_iter().map(OsString::from).collect(),
            fs_type,
            source,
            super_options,
        }
    }
}

proptest! {
    #[test]
    fn reads_back_what_the_kernel_writes(mounts in prop::collection::vec(any_mount(), 0..8)) {
        let lines: Vec<Vec<u8>> = mounts.iter().map(print).collect();
        let mut text = lines.join(&b'\n');
        text.push(b'\n');
        prop_assert_eq!(parse(Path::new("m"), &text).unwrap(), mounts);
    }

    #[test]
    fn any_bytes_end_in_an_answer(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(Path::new("m"), &text);
    }

    #[test]
    fn any_tree_keeps_each_superblock_once(mounts in prop::collection::vec(any_mount(), 0..12)) {
        let blocks = superblocks(&mounts);
        let distinct: HashSet<DevNum> = mounts.iter().map(|m| m.device).collect();
        prop_assert_eq!(blocks.len(), distinct.len());
        prop_assert_eq!(blocks.iter().map(|b| b.points.len()).sum::<usize>(), mounts.len());
    }
}
