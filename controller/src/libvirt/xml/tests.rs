//! A real domain's XML, made-up shapes, hostile ones, and a corpus that is replayed. Files in tests/corpus/domain-xml
//! named after libvirt are captured from a real one, the others are made by hand.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::model::image::Format;

fn corpus(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/domain-xml").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn devices(inner: &str) -> Described {
    domain(&format!("<domain type='kvm'><devices>{inner}</devices></domain>")).unwrap()
}

fn one_disk(inner: &str) -> HostDisk {
    let disk = format!("<disk type='file' device='disk'>{inner}</disk>");
    devices(&disk).disks.into_iter().next().unwrap_or_else(|| panic!("no disk: {inner}"))
}

/// As a line, so that a case reads at a glance.
fn line(disk: &HostDisk) -> String {
    let image =
        disk.image.as_ref().map_or("-".into(), |i| format!("{} {}", i.path.display(), i.format.as_str()));
    let target = disk.target.as_deref().unwrap_or("-");
    format!("{target} {} {image} {} {} {:?}", disk.device, disk.protocol, disk.front_end, disk.discard)
}

#[test]
fn a_running_domain_of_libvirt_9() {
    let described = domain(&corpus("live-libvirt-9.xml")).unwrap();
    assert_eq!(described.link, Link::Missing);
    let lines: Vec<_> = described.disks.iter().map(line).collect();
    // No CD-ROM and no read-only disk.
    assert_eq!(
        lines,
        [
            "vda virtio-disk0 /guests/a.img raw file virtio-blk-pci Unmap",
            "sda scsi0-0-3-1 /guests/top.qcow2 qcow2 file scsi-hd Ignore",
            "sdc scsi1-0-5 /guests/b.img raw file scsi-hd Unmap",
            "sdb sata0-0-1 /guests/v.qcow2 qcow2 file ide-hd Ignore",
        ]
    );
    let [vda, sda, sdc, sdb] = described.disks.as_slice() else { panic!() };
    assert_eq!(vda.serial.as_deref(), Some("DISK0"));
    assert_eq!(vda.address, Some(Address::Pci("0000:05:00.0".into())), "as query-pci had it, too");
    assert_eq!(sda.wwn, Some(0x5000_c500_15ea_71aa));
    assert_eq!(sda.address, Some(Address::Scsi { channel: 0, target: 3, lun: 1 }));
    let below = |path: &str, format| Image { path: path.into(), format };
    assert_eq!(
        sda.backing,
        [below("/guests/mid.qcow2", Format::Qcow2), below("/guests/base.img", Format::Raw)]
    );
    assert_eq!(sdc.address, Some(Address::Scsi { channel: 0, target: 5, lun: 0 }), "parallel SCSI");
    assert!(sdc.shareable && !vda.shareable);
    assert_eq!((sdb.address.as_ref(), sdb.backing.as_slice()), (None, [].as_slice()));
    assert!(described.disks.iter().all(|disk| disk.discard_said_by == SaidBy::LiveXml));
}

#[test]
fn a_domain_that_is_off() {
    let described = domain(&corpus("inactive-libvirt-9.xml")).unwrap();
    let devices: Vec<_> = described.disks.iter().map(|disk| disk.device.as_str()).collect();
    assert_eq!(devices, ["vda", "sda", "sdc", "sdb"], "by target: it has no aliases yet");
    assert!(described.disks.iter().all(|disk| disk.backing.is_empty()), "nobody has read the chain");
}

#[test]
fn sources() {
    let luks = "<source file='/a'><encryption format='luks'><secret type='passphrase' uuid='x'/></encryption></source>";
    for (name, kind, inner, expected) in [
        ("block", "block", "<driver type='raw'/><source dev='/dev/vg/a'/>", "/dev/vg/a raw host_device"),
        ("no format is raw", "file", "<source file='/a'/>", "/a raw file"),
        ("rbd", "network", "<driver type='raw'/><source protocol='rbd' name='pool/a'/>", "- rbd"),
        ("a pool's volume", "volume", "<source pool='p' volume='v'/>", "- storage volume"),
        ("nvme passed through", "nvme", "<source type='pci'/>", "- nvme"),
        ("luks over raw", "file", &format!("<driver type='raw'/>{luks}"), "/a luks file"),
        ("luks inside qcow2", "file", &format!("<driver type='qcow2'/>{luks}"), "/a qcow2 file"),
        (
            "a slice",
            "file",
            "<driver type='raw'/><source file='/a'><slices><slice type='storage' offset='1' size='2'/></slices></source>",
            "/a slice of raw file",
        ),
        ("not absolute", "file", "<source file='a.img'/>", "- file"),
        ("another driver's", "file", "<driver type='vmdk'/><source file='/a'/>", "/a vmdk file"),
    ] {
        let disk = format!("<disk type='{kind}'>{inner}<target dev='vda' bus='virtio'/></disk>");
        let disks = devices(&disk).disks;
        let [disk] = disks.as_slice() else { panic!("{name}: {disks:?}") };
        let image = disk.image.as_ref();
        let image = image.map_or("-".into(), |i| format!("{} {}", i.path.display(), i.format.as_str()));
        assert_eq!(format!("{image} {}", disk.protocol), expected, "{name}");
    }
}

#[test]
fn what_is_no_disk_of_a_trim() {
    for (name, disk) in [
        ("an empty drive", "<disk type='file' device='disk'><target dev='sda' bus='scsi'/></disk>"),
        ("a floppy", "<disk type='file' device='floppy'><source file='/f'/><target dev='fda'/></disk>"),
        ("without a target", "<disk type='file' device='disk'><source file='/f'/></disk>"),
        (
            "somebody else's element",
            "<x:disk xmlns:x='urn:x'><source file='/f'/><target dev='vda'/></x:disk>",
        ),
    ] {
        assert_eq!(devices(disk).disks, [], "{name}");
    }
}

#[test]
fn discards() {
    let said = |driver: &str| {
        one_disk(&format!("{driver}<source file='/a'/><target dev='sda' bus='scsi'/>")).discard
    };
    assert_eq!(said("<driver type='raw' discard='unmap'/>"), DriveDiscard::Unmap);
    assert_eq!(said("<driver type='raw' discard='ignore'/>"), DriveDiscard::Ignore);
    assert_eq!(said("<driver type='raw'/>"), DriveDiscard::Ignore, "not said is ignore");
    assert_eq!(said(""), DriveDiscard::Ignore);
    let lun = "<disk type='block' device='lun'><driver type='raw'/><source dev='/dev/sdb'/>\
               <target dev='sda' bus='scsi'/></disk>";
    assert_eq!(devices(lun).disks[0].discard, DriveDiscard::Unknown, "the guest's own commands");
}

#[test]
fn what_a_qcow2_does_with_a_discard() {
    let store = "<dataStore type='file'><format type='raw'/><source file='/data'/></dataStore>";
    let disk = one_disk(&format!(
        "<driver type='qcow2' discard='unmap' discard_no_unref='on'/><source file='/a'>{store}</source>\
         <target dev='vda' bus='virtio'/>"
    ));
    assert_eq!((disk.freed_clusters, disk.data_file), (FreedClusters::Reserved, Some("/data".into())));
}

#[test]
fn mirrors() {
    let mirror = |mirror: &str| {
        one_disk(&format!("<source file='/a'/>{mirror}<target dev='sda' bus='scsi'/>")).block_job
    };
    assert_eq!(mirror(""), None);
    let copy = "<mirror type='file' job='copy' ready='yes'><source file='/b'/></mirror>";
    assert_eq!(mirror(copy).as_deref(), Some("copying"));
    assert_eq!(mirror("<mirror job='active-commit'/>").as_deref(), Some("committing the active layer"));
}

#[test]
fn vsock() {
    let cid = |inner: &str| devices(&format!("<vsock model='virtio'>{inner}</vsock>")).link;
    assert_eq!(cid("<cid auto='yes' address='7'/>"), Link::Vsock(Some(Cid(7))));
    assert_eq!(cid("<cid auto='yes'/>"), Link::Vsock(None), "not fixed before the start");
    for reserved in ["0", "1", "2", "4294967295", "x", "7:8", ""] {
        assert_eq!(cid(&format!("<cid address='{reserved}'/>")), Link::Vsock(None), "{reserved}");
    }
    let line = |words: &str| {
        let xml = format!(
            "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><devices/>\
             <qemu:commandline><qemu:arg value='-device'/><qemu:arg value='{words}'/></qemu:commandline></domain>"
        );
        domain(&xml).unwrap().link
    };
    assert_eq!(line("vhost-vsock-pci,guest-cid=9,id=v"), Link::Vsock(Some(Cid(9))));
    assert_eq!(line("vhost-user-vsock-pci,chardev=vs"), Link::Vsock(None));
    assert_eq!(line("virtio-rng-pci"), Link::Missing);
}

#[test]
fn snapshots() {
    for (name, xml, expected) in [
        ("of the disks", "<disks><disk name='vda' snapshot='internal'/></disks>", true),
        ("with memory", "<memory snapshot='internal'/>", true),
        ("external", "<memory snapshot='no'/><disks><disk name='vda' snapshot='external'/></disks>", false),
        ("none", "", false),
    ] {
        assert_eq!(
            is_internal_snapshot(&format!("<domainsnapshot>{xml}</domainsnapshot>")),
            expected,
            "{name}"
        );
    }
    assert!(!is_internal_snapshot("no XML"));
}

#[test]
fn what_is_no_domain() {
    assert_eq!(domain("<network/>"), Err(NotADomain::Other("network".into())));
    for text in ["", "domain", "<domain>", "<domain/><domain/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><domain/>"] {
        assert!(matches!(domain(text), Err(NotADomain::NotXml(_))), "{text}");
    }
    assert_eq!(domain("<domain/>").unwrap().disks, []);
}

#[test]
fn size_and_depth_are_bounded() {
    let long = format!("<domain>{}</domain>", "<a/>".repeat(1 << 20));
    assert_eq!(domain(&long), Err(NotADomain::TooLong));
    let many = format!("<domain>{}</domain>", "<a/>".repeat(usize::try_from(MAX_NODES).unwrap()));
    assert!(matches!(domain(&many), Err(NotADomain::NotXml(_))));
    let attributes: String = (0..60_000).map(|n| format!(" a{n}=''")).collect();
    assert_eq!(domain(&format!("<domain{attributes}/>")), Err(NotADomain::TooLong));
    let disk = "<disk><source/><target dev='a'/></disk>".repeat(MAX_DISKS + 1);
    assert_eq!(devices(&disk).disks.len(), MAX_DISKS);

    let layer = "<backingStore type='file'><source file='/b'/>";
    let deep = MAX_CHAIN + 50;
    let chain = format!("{}{}", layer.repeat(deep), "</backingStore>".repeat(deep));
    let disk = one_disk(&format!("<source file='/a'/>{chain}<target dev='vda' bus='virtio'/>"));
    assert_eq!(disk.backing.len(), MAX_CHAIN);
    // The parser must not run out of stack either.
    let nested = format!("<domain>{}{}</domain>", "<a>".repeat(90_000), "</a>".repeat(90_000));
    let _ = domain(&nested);
}

#[test]
fn the_corpus_is_replayed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/domain-xml");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        let hostile = path.file_name().unwrap().to_string_lossy().starts_with("hostile");
        let understood = domain(&text);
        assert!(hostile || understood.is_ok(), "{}: {understood:?}", path.display());
        let _ = is_internal_snapshot(&text);
        seen += 1;
    }
    assert!(seen >= 6, "{seen} files");
}

/// XML of the elements that are read, in any order and depth, with values that are almost right.
fn shaped() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-z0-9/:.,=-]{0,12}",
        Just("0x".to_owned()),
        Just("/x".to_owned()),
        Just("file".to_owned()),
        Just("pci".to_owned()),
        Just("drive".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("-1".to_owned()),
        Just("&quot;&lt;$(x)".to_owned()),
    ];
    let name = prop::sample::select(vec![
        "devices",
        "disk",
        "source",
        "driver",
        "target",
        "address",
        "backingStore",
        "format",
        "controller",
        "vsock",
        "cid",
        "mirror",
        "serial",
        "wwn",
        "alias",
        "encryption",
        "slices",
        "readonly",
        "commandline",
        "arg",
    ]);
    let key = prop::sample::select(vec![
        "type",
        "device",
        "file",
        "dev",
        "bus",
        "domain",
        "slot",
        "function",
        "index",
        "model",
        "controller",
        "target",
        "unit",
        "discard",
        "address",
        "value",
        "name",
        "job",
        "format",
        "protocol",
    ]);
    let attributes = prop::collection::btree_map(key, value, 0..4);
    let leaf = (name.clone(), attributes.clone(), "[a-z0-9 ]{0,8}").prop_map(|(name, attributes, text)| {
        let attributes: String = attributes.iter().map(|(k, v)| format!(" {k}='{v}'")).collect();
        format!("<{name}{attributes}>{text}</{name}>")
    });
    let tree = leaf.prop_recursive(5, 60, 6, move |inner| {
        (name.clone(), attributes.clone(), prop::collection::vec(inner, 0..6)).prop_map(
            |(name, attributes, inner)| {
                let attributes: String = attributes.iter().map(|(k, v)| format!(" {k}='{v}'")).collect();
                format!("<{name}{attributes}>{}</{name}>", inner.concat())
            },
        )
    });
    prop::collection::vec(tree, 0..8)
        .prop_map(|parts| format!("<domain><devices>{}</devices></domain>", parts.concat()))
}

proptest! {
    #[test]
    fn any_text_is_survived(text in ".{0,400}") {
        let _ = domain(&text);
        let _ = is_internal_snapshot(&text);
    }

    #[test]
    fn any_shape_is_survived_and_no_image_is_relative(text in shaped()) {
        let described = domain(&text).unwrap();
        for disk in &described.disks {
            for image in disk.image.iter().chain(&disk.backing) {
                prop_assert!(image.path.is_absolute());
            }
            prop_assert!(disk.backing.len() <= MAX_CHAIN);
        }
    }

    #[test]
    fn a_damaged_domain_is_survived(at in 0_usize..6000, with in "[<>/'= a]{0,3}") {
        let mut text = corpus("live-libvirt-9.xml");
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text.insert_str(at, &with);
        let _ = domain(&text);
    }
}
