use proptest::prelude::*;

use super::*;

fn line(words: &[&str]) -> CommandLine {
    CommandLine::parse(&words.iter().flat_map(|word| word.bytes().chain([0])).collect::<Vec<_>>())
}

/// A disk as QMP shows it.
struct Disk(&'static str, &'static str, &'static str);

#[test]
fn what_becomes_of_freed_clusters() {
    use FreedClusters::{Kept, Punched, Reserved};
    let drive = Disk("d0", "#block1", "/a.img");
    let node = Disk("", "n0", "/a.img");
    let json = |word: &str| format!(r#"{{"driver":"qcow2","node-name":"n0","file":"f0","{word}":false}}"#);
    let off = json("pass-discard-request");
    let file = "driver=file,filename=/a.img,node-name=f0";
    let cases: Vec<(&str, Vec<&str>, &Disk, FreedClusters)> = vec![
        ("not said", vec!["-drive", "file=/a.img,id=d0,discard=unmap"], &drive, Punched),
        ("-drive off", vec!["-drive", "file=/a.img,id=d0,pass-discard-request=off"], &drive, Kept),
        ("-drive on", vec!["-drive", "file=/a.img,id=d0,pass-discard-request=on"], &drive, Punched),
        (
            "another file by now",
            vec!["-drive", "file=/b.img,id=d0,pass-discard-request=off"],
            &drive,
            Punched,
        ),
        (
            "-blockdev",
            vec!["-blockdev", file, "-blockdev", "driver=qcow2,node-name=n0,file=f0,discard-no-unref=on"],
            &node,
            Reserved,
        ),
        ("-blockdev as JSON", vec!["-blockdev", file, "-blockdev", &off], &node, Kept),
        (
            "below a filter",
            vec![
                "-blockdev",
                file,
                "-blockdev",
                "driver=qcow2,node-name=q0,file=f0,pass-discard-request=off",
                "-blockdev",
                "driver=throttle,node-name=n0,file=q0",
            ],
            &node,
            Kept,
        ),
        ("a loop of nodes", vec!["-blockdev", "driver=throttle,node-name=n0,file=n0"], &node, Punched),
    ];
    for (name, words, Disk(drive, node, file), expected) in cases {
        assert_eq!(line(&words).freed_clusters(drive, node, file), expected, "{name}");
    }
}

#[test]
fn what_becomes_of_a_discard() {
    use DriveDiscard::{Ignore, Unknown, Unmap};
    let d0 = || Disk("d0", "#block1", "/a.img");
    let n0 = || Disk("", "n0", "/a.img");
    let file_unmap = "driver=file,filename=/a.img,node-name=f0,discard=unmap";
    let cases: Vec<(&str, Vec<&str>, Disk, DriveDiscard)> = vec![
        ("-drive unmap", vec!["-drive", "file=/a.img,id=d0,discard=unmap"], d0(), Unmap),
        ("-drive on", vec!["-drive", "file=/a.img,id=d0,discard=on"], d0(), Unmap),
        ("two dashes", vec!["--drive", "file=/a.img,id=d0,discard=unmap"], d0(), Unmap),
        ("-drive ignore", vec!["-drive", "file=/a.img,id=d0,discard=ignore"], d0(), Ignore),
        ("-drive says nothing", vec!["-drive", "file=/a.img,id=d0"], d0(), Ignore),
        (
            "-drive, file node set apart",
            vec!["-drive", "file=/a.img,id=d0,discard=unmap,file.discard=ignore"],
            d0(),
            Ignore,
        ),
        (
            "-drive file.filename",
            vec!["-drive", "file.driver=file,file.filename=/a.img,id=d0,discard=unmap"],
            d0(),
            Unmap,
        ),
        ("-drive file: prefix", vec!["-drive", "file=file:/a.img,id=d0,discard=unmap"], d0(), Unmap),
        (
            "-drive without id",
            vec!["-drive", "file=/a.img,if=virtio,discard=unmap"],
            Disk("virtio0", "#b", "/a.img"),
            Unmap,
        ),
        (
            "two -drives without id, one file",
            vec!["-drive", "file=/a.img,discard=unmap", "-drive", "file=/a.img"],
            Disk("virtio0", "#b", "/a.img"),
            Unknown,
        ),
        (
            "-drive with another image by now",
            vec!["-drive", "file=/old.img,id=d0,discard=unmap"],
            d0(),
            Unknown,
        ),
        (
            "-drive of a json name",
            vec!["-drive", "file=json:{\"driver\":\"file\"},id=d0,discard=unmap"],
            d0(),
            Unknown,
        ),
        ("-hda", vec!["-hda", "/a.img"], Disk("ide0-hd0", "#b", "/a.img"), Ignore),
        ("plugged in later", vec!["-machine", "q35"], d0(), Unknown),
        (
            "commas in a name",
            vec!["-drive", "file=/a,,b,,.img,id=d0,discard=unmap"],
            Disk("d0", "#b", "/a,b,.img"),
            Unmap,
        ),
        (
            "a value that looks like an option",
            vec!["-name", "discard=unmap", "-drive", "file=/a.img,id=d0"],
            d0(),
            Ignore,
        ),
        ("a newer word", vec!["-drive", "file=/a.img,id=d0,discard=later"], d0(), Unknown),
        (
            "-set may have changed it",
            vec!["-drive", "file=/a.img,id=d0", "-set", "drive.d0.discard=unmap"],
            d0(),
            Unknown,
        ),
        (
            "-readconfig",
            vec!["-drive", "file=/a.img,id=d0,discard=unmap", "-readconfig", "vm.cfg"],
            d0(),
            Unknown,
        ),
        (
            "-blockdev, both",
            vec!["-blockdev", file_unmap, "-blockdev", "driver=qcow2,file=f0,node-name=n0,discard=unmap"],
            n0(),
            Unmap,
        ),
        (
            "-blockdev, format only",
            vec![
                "-blockdev",
                "driver=file,filename=/a.img,node-name=f0",
                "-blockdev",
                "driver=qcow2,file=f0,node-name=n0,discard=unmap",
            ],
            n0(),
            Ignore,
        ),
        (
            "-blockdev, file only",
            vec!["-blockdev", file_unmap, "-blockdev", "driver=qcow2,file=f0,node-name=n0"],
            n0(),
            Ignore,
        ),
        (
            "-blockdev, file inline",
            vec!["-blockdev", "driver=raw,node-name=n0,discard=unmap,file.driver=file,file.filename=/a.img"],
            n0(),
            Unmap,
        ),
        (
            "-blockdev, file inline and ignored",
            vec![
                "-blockdev",
                "driver=raw,node-name=n0,discard=unmap,file.driver=file,file.filename=/a.img,file.discard=ignore",
            ],
            n0(),
            Ignore,
        ),
        (
            "-blockdev, JSON",
            vec![
                "-blockdev",
                r#"{"driver":"raw","node-name":"n0","discard":"unmap","file":{"driver":"file","filename":"/a.img"}}"#,
            ],
            n0(),
            Unmap,
        ),
        (
            "-blockdev, JSON of two",
            vec![
                "-blockdev",
                r#"{"driver":"file","filename":"/a.img","node-name":"f0"}"#,
                "-blockdev",
                r#"{"driver":"raw","node-name":"n0","discard":"unmap","file":"f0"}"#,
            ],
            n0(),
            Ignore,
        ),
        (
            "-blockdev, a filter in between",
            vec![
                "-blockdev",
                file_unmap,
                "-blockdev",
                "driver=qcow2,file=f0,node-name=q0,discard=unmap",
                "-blockdev",
                "driver=throttle,file=q0,node-name=n0,throttle-group=g",
            ],
            n0(),
            Ignore,
        ),
        (
            "-blockdev, a node from elsewhere",
            vec!["-blockdev", "driver=qcow2,file=f0,node-name=n0,discard=unmap"],
            n0(),
            Unknown,
        ),
        ("-blockdev, no such node", vec!["-blockdev", file_unmap], n0(), Unknown),
        (
            "-blockdev, the data in its own file",
            vec![
                "-blockdev",
                file_unmap,
                "-blockdev",
                "driver=qcow2,file.driver=file,file.filename=/h.qcow2,data-file=f0,node-name=n0,discard=unmap",
            ],
            n0(),
            Unmap,
        ),
        (
            "nodes that name each other",
            vec![
                "-blockdev",
                "driver=raw,file=n1,node-name=n0",
                "-blockdev",
                "driver=raw,file=n0,node-name=n1",
            ],
            n0(),
            Unknown,
        ),
        ("broken JSON", vec!["-blockdev", "{\"node-name\": "], n0(), Unknown),
        ("an option without its value", vec!["-drive"], d0(), Unknown),
    ];
    for (name, words, Disk(drive, node, file), expected) in cases {
        assert_eq!(line(&words).discard(drive, node, file), expected, "{name}");
    }
}

#[test]
fn which_files_it_names() {
    let line = line(&[
        "qemu",
        "-drive",
        "file=a.img",
        "-hdb",
        "b.img",
        "-blockdev",
        "driver=file,filename=c.img,node-name=f",
    ]);
    for file in ["a.img", "b.img", "c.img"] {
        assert!(line.mentions(file), "{file}");
    }
    assert!(!line.mentions("img"));
    assert!(!line.is_daemon());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = CommandLine::parse(&raw).discard("d0", "n0", "/a.img");
    }

    #[test]
    fn arbitrary_options_never_panic(value in "[a-e.=,{}\"]{0,60}") {
        let _ = line(&["-drive", &value, "-blockdev", &value]).discard("a", "b", "c");
    }

    #[test]
    fn a_doubled_name_comes_back(name in "[a-z,.=]{1,20}") {
        let value = format!("node-name={},discard=unmap", name.replace(',', ",,"));
        let options = options(&value);
        prop_assert_eq!(text(&options, "node-name"), Some(name.as_str()));
    }
}
