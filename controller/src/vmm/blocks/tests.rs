//! Against the answers of a QEMU 7.2 with a disk of every kind.

use serde_json::Value;

use super::*;

struct Answers {
    blocks: Vec<Block>,
    nodes: Vec<Node>,
    stats: Vec<Stats>,
    jobs: Vec<Job>,
}

fn answers() -> Answers {
    let mut all: Value = serde_json::from_str(include_str!("qemu-7.2.json")).unwrap();
    Answers {
        blocks: serde_json::from_value(all["block"].take()).unwrap(),
        nodes: serde_json::from_value(all["nodes"].take()).unwrap(),
        stats: serde_json::from_value(all["stats"].take()).unwrap(),
        jobs: serde_json::from_value(all["jobs"].take()).unwrap(),
    }
}

fn found(answers: &Answers) -> Vec<FoundDisk> {
    disks(&answers.blocks, &answers.nodes, &answers.stats, &answers.jobs, |_| None)
}

fn shown(image: &Image) -> String {
    format!("{} {}", image.format.as_str(), image.path.display())
}

#[test]
fn images_from_qemu() {
    let said: Vec<_> = found(&answers())
        .iter()
        .map(|found| {
            let disk = &found.disk;
            let image = disk.image.as_ref().map_or("-".to_owned(), shown);
            let backing: Vec<_> = disk.backing.iter().map(shown).collect();
            format!("{} | {image} | {} | {}", disk.device, disk.protocol, backing.join(", "))
        })
        .collect();
    assert_eq!(
        said,
        [
            "/machine/peripheral-anon/device[0] | raw /guests/raw.img | file | ",
            "/machine/peripheral/vb1/virtio-backend | qcow2 /guests/top.qcow2 | file | \
             qcow2 /guests/mid.qcow2, qcow2 /guests/base.qcow2",
            // Its data file is a guest's, byte for byte: it is never the image to read a header from.
            "/machine/peripheral/vb5/virtio-backend | qcow2 /guests/data.qcow2 | file | ",
            "/machine/peripheral/vb7/virtio-backend | - | nbd | ",
            "/machine/peripheral/vb8/virtio-backend | raw /guests/job.img | file | ",
            // The firmware: left out once its front end is known.
            "/machine/system.flash0 | raw /guests/flash.img | file | ",
            "nv | qcow2 /guests/nv.qcow2 | file | ",
            // Under a throttle filter, whose own name is no file.
            "/machine/peripheral/vb4/virtio-backend | raw /guests/thr.img | file | ",
            "/machine/peripheral/vb6/virtio-backend | luks /guests/luks.img | file | ",
        ]
    );
}

fn by_device<'a>(disks: &'a [FoundDisk], device: &str) -> &'a FoundDisk {
    disks.iter().find(|found| found.disk.device.contains(device)).unwrap()
}

#[test]
fn the_data_outside_of_its_image() {
    let disks = found(&answers());
    let said: Vec<_> = disks.iter().filter_map(|found| found.disk.data_file.clone()).collect();
    assert_eq!(said, [PathBuf::from("/guests/data.raw")]);
    assert_eq!(by_device(&disks, "vb5").file, "/guests/data.qcow2", "what a command line names");
}

#[test]
fn the_rest_of_a_disk() {
    let disks = found(&answers());
    let nvme = by_device(&disks, "nv");
    assert_eq!((nvme.drive.as_str(), nvme.node.as_str(), nvme.file.as_str()), ("", "n3", "/guests/nv.qcow2"));
    assert_eq!(nvme.disk.virtual_bytes, Some(64 << 20));
    assert_eq!(nvme.disk.dirty_bitmaps, 1);
    assert_eq!(nvme.disk.block_job, None);
    let mirrored = by_device(&disks, "vb8");
    assert_eq!(mirrored.disk.block_job.as_deref(), Some("running"));
    assert_eq!(mirrored.disk.dirty_bitmaps, 0, "the job's own bitmap has no name and is no backup's");
}

#[test]
fn a_job_that_no_disk_answers_to_counts_for_all() {
    let mut answers = answers();
    answers.jobs = vec![Job { device: "copy-vda".into(), status: "paused".into() }];
    assert!(found(&answers).iter().all(|found| found.disk.block_job.as_deref() == Some("paused")));
}

#[test]
fn counters_of_the_protocol_nodes() {
    let counters = counters(&answers().stats);
    let of = |device: &str| counters.iter().find(|(name, _)| name == device).map(|(_, counters)| *counters);
    assert_eq!(
        of("/machine/peripheral-anon/device[0]"),
        Some(DiskCounters {
            written_bytes: Some(0),
            arrived_bytes: Some(1 << 20),
            failed_requests: Some(0),
            failed_io: Some(7)
        })
    );
    let nbd = of("/machine/peripheral/vb7/virtio-backend").unwrap();
    assert_eq!(nbd.arrived_bytes, None, "nbd has no such counter: not known is not 0");
    assert_eq!(of("/machine/peripheral-anon/device[1]"), None, "a CD drive without a medium");
}

#[test]
fn a_node_that_vanished_meanwhile_leaves_no_image() {
    let mut answers = answers();
    answers.nodes.retain(|node| node.node_name != "f3");
    let disks = found(&answers);
    let nvme = by_device(&disks, "nv");
    assert_eq!((nvme.disk.image.as_ref(), nvme.disk.protocol.as_str()), (None, ""));
}

#[test]
fn names_that_are_no_paths() {
    let cases = [
        ("absolute", "file", "/a.img", Some("/a.img")),
        ("a device", "host_device", "/dev/vg0/a", Some("/dev/vg0/a")),
        ("relative", "file", "a.img", Some("/cwd/a.img")),
        ("a passed descriptor", "file", "/dev/fdset/3", None),
        ("no plain name", "file", "json:{\"driver\": \"file\"}", None),
        ("another host", "ssh", "/a.img", None),
    ];
    for (name, driver, file, expected) in cases {
        let mut answers = answers();
        for node in answers.nodes.iter_mut().filter(|node| node.file == "/guests/raw.img") {
            node.file = file.to_owned();
            if node.drv == "file" {
                node.drv = driver.to_owned();
            }
        }
        let absolute = |name: &str| Some(Path::new("/cwd").join(name));
        let disks = disks(&answers.blocks, &answers.nodes, &answers.stats, &[], absolute);
        let image = disks[0].disk.image.as_ref().map(|image| image.path.clone());
        assert_eq!(image, expected.map(PathBuf::from), "{name}");
    }
}

#[test]
fn formats_on_formats() {
    let mut answers = answers();
    for node in
        answers.nodes.iter_mut().filter(|node| node.drv == "throttle" || node.file == "/guests/thr.img")
    {
        node.drv = match node.drv.as_str() {
            "throttle" => "qcow2".to_owned(),
            "raw" => "luks".to_owned(),
            other => other.to_owned(),
        };
    }
    let disks = found(&answers);
    let image = by_device(&disks, "vb4").disk.image.as_ref().map(shown);
    assert_eq!(image.as_deref(), Some("qcow2 over luks /guests/thr.img"));
}
