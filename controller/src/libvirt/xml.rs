//! A domain's XML (libvirt.org/formatdomain.html) → its vsock device and its disks. Pure.
//!
//! The XML is libvirt's, but what stands in it may be anybody's who defines domains: its size, its number of nodes and
//! the depth of a chain are bounded, what is not understood is left out, and no name in it is looked at here.
//!
//! ```text
//! <disk type=file|block|network|… device=disk|lun>
//!   <driver type=FORMAT discard=unmap|ignore/>  <source file=… index=N/>  ── node names libvirt-N-storage, -format
//!   <backingStore type=…> <format/> <source/> <backingStore …>  …  <backingStore/>
//!   <mirror job=…/>  <target dev=… bus=…/>  <serial/> <wwn/> <alias name=…/> <address type=…/>
//! ```

pub(super) mod edit;
mod labels;
mod pci;
mod source;

use roxmltree::{Document, Node, ParsingOptions};

use self::source::{child, data_file, image, is_called, protocol};
use crate::model::{
    disk::{Address, DriveDiscard, FreedClusters, HostDisk, Link, SaidBy},
    endpoint::{Cid, Endpoint},
    image::Image,
};

/// The longest text that libvirt's protocol carries (VIR_NET_MESSAGE_STRING_MAX in src/rpc/virnetprotocol.x).
const MAX_BYTES: usize = 4 << 20;

/// A domain with a thousand disks has a tenth of it.
const MAX_NODES: u32 = 200_000;

/// From one `<` to the next: what an element's attributes take, which are compared with each other.
const MAX_PIECE: usize = 256 << 10;

/// More than any machine type has room for.
const MAX_DISKS: usize = 4096;

/// As deep as libvirt itself goes (virStorageSourceGetMetadata() in src/storage_file).
const MAX_CHAIN: usize = 200;

/// What a domain's XML says, as far as it matters to a trim.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Described {
    /// Its vsock device.
    pub link: Link,
    /// Read-write, with a medium that stays.
    pub disks: Vec<HostDisk>,
    /// What its owner wrote into its metadata for `--select label=…`.
    pub labels: Vec<String>,
}

/// Why a text is no domain's XML.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotADomain {
    /// Too long, or an element of it is.
    #[error("its XML is larger than any domain's")]
    TooLong,
    /// No XML, or too many nodes.
    #[error("its XML cannot be read: {0}")]
    NotXml(String),
    /// Another document.
    #[error("its XML is a <{0}>")]
    Other(String),
}

/// Reads a `<domain>`.
pub fn domain(text: &str) -> Result<Described, NotADomain> {
    let document = document(text)?;
    let root = document.root_element();
    if root.tag_name().name() != "domain" {
        return Err(NotADomain::Other(root.tag_name().name().to_owned()));
    }
    let devices = child(root, "devices");
    let controllers = Controllers { devices, buses: pci::Buses::of(devices) };
    let disks = named(devices, "disk").take(MAX_DISKS).filter_map(|one| disk(one, &controllers)).collect();
    Ok(Described { link: link(root), disks, labels: labels::labels(root) })
}

/// Whether a `<domainsnapshot>` keeps something inside of an image, rather than in a file of its own.
pub fn is_internal_snapshot(text: &str) -> bool {
    let Ok(document) = document(text) else { return false };
    let root = document.root_element();
    let kinds = |name| named(child(root, name), "disk").filter_map(|disk| disk.attribute("snapshot"));
    kinds("disks").any(|kind| kind == "internal")
        || child(root, "memory").and_then(|memory| memory.attribute("snapshot")) == Some("internal")
}

pub(super) fn document(text: &str) -> Result<Document<'_>, NotADomain> {
    if text.len() > MAX_BYTES || text.split('<').any(|piece| piece.len() > MAX_PIECE) {
        return Err(NotADomain::TooLong);
    }
    // Without a DTD there are no entities that could multiply.
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|error| NotADomain::NotXml(error.to_string()))
}

/// The elements of this name directly below.
pub(super) fn named<'a, 'i: 'a>(
    below: Option<Node<'a, 'i>>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    below.into_iter().flat_map(|node| node.children()).filter(move |node| is_called(node, name))
}

fn link(root: Node<'_, '_>) -> Link {
    if let Some(vsock) = named(child(root, "devices"), "vsock").next() {
        let cid = child(vsock, "cid").and_then(|cid| cid.attribute("address"));
        return Link::Vsock(cid.and_then(cid_of));
    }
    // A device that libvirt does not know of stands in <qemu:commandline> (or another driver's).
    let ours = root.children().filter(|node| node.tag_name().name() == "commandline");
    let mut words = ours.flat_map(|line| line.children()).filter_map(|arg| arg.attribute("value"));
    match words.find(|word| word.contains("vhost-vsock") || word.contains("vhost-user-vsock")) {
        Some(word) => {
            let cid = word.split(',').find_map(|part| part.strip_prefix("guest-cid="));
            Link::Vsock(cid.and_then(cid_of))
        }
        None => Link::Missing,
    }
}

/// A guest's CID: none of the reserved ones.
fn cid_of(text: &str) -> Option<Cid> {
    match format!("vsock:{text}").parse() {
        Ok(Endpoint::Vsock { cid, .. }) if cid.0 > 2 && !text.contains(':') => Some(cid),
        _ => None,
    }
}

fn disk(node: Node<'_, '_>, controllers: &Controllers<'_, '_>) -> Option<HostDisk> {
    let kind = node.attribute("device").unwrap_or("disk");
    if !matches!(kind, "disk" | "lun") || child(node, "readonly").is_some() {
        return None;
    }
    let target = child(node, "target")?.attribute("dev")?.to_owned();
    let bus = child(node, "target").and_then(|target| target.attribute("bus")).unwrap_or_default();
    let source = child(node, "source")?;
    let driver = child(node, "driver");
    let format = driver.and_then(|driver| driver.attribute("type"));
    let text = |name| Some(child(node, name)?.text()?.trim().to_owned()).filter(|text| !text.is_empty());
    let alias = child(node, "alias").and_then(|alias| alias.attribute("name"));
    let discard = match (kind, driver.and_then(|driver| driver.attribute("discard"))) {
        // The guest's commands go to the host's device as they are.
        ("lun", _) => DriveDiscard::Unknown,
        (_, Some("unmap")) => DriveDiscard::Unmap,
        _ => DriveDiscard::Ignore,
    };
    Some(HostDisk {
        device: alias.unwrap_or(&target).to_owned(),
        image: image(node, source, format),
        protocol: protocol(node, source),
        backing: backing(node),
        data_file: data_file(node, source),
        virtual_bytes: None,
        serial: text("serial"),
        wwn: text("wwn").and_then(|wwn| u64::from_str_radix(wwn.trim_start_matches("0x"), 16).ok()),
        address: child(node, "address").and_then(|at| address(at, bus, controllers)),
        front_end: front_end(node, kind, bus).to_owned(),
        guest_name: None,
        target: Some(target),
        shareable: child(node, "shareable").is_some(),
        discard,
        discard_said_by: SaidBy::LiveXml,
        freed_clusters: match driver.and_then(|driver| driver.attribute("discard_no_unref")) {
            Some("on") => FreedClusters::Reserved,
            _ => FreedClusters::Punched,
        },
        block_job: child(node, "mirror").map(|mirror| mirroring(mirror).to_owned()),
        dirty_bitmaps: 0,
    })
}

/// The images below the top one, nearest first. The chain ends with an empty element.
fn backing(disk: Node<'_, '_>) -> Vec<Image> {
    std::iter::successors(child(disk, "backingStore"), |layer| child(*layer, "backingStore"))
        .take(MAX_CHAIN)
        .filter_map(|layer| {
            let format = child(layer, "format").and_then(|format| format.attribute("type"));
            image(layer, child(layer, "source")?, format)
        })
        .collect()
}

/// A job that writes a disk's contents elsewhere and has not ended.
fn mirroring(mirror: Node<'_, '_>) -> &'static str {
    match mirror.attribute("job") {
        Some("active-commit") => "committing the active layer",
        _ => "copying",
    }
}

/// QEMU's device models (qemuBuildDiskDeviceProps() in libvirt's src/qemu/qemu_command.c).
fn front_end(disk: Node<'_, '_>, kind: &str, bus: &str) -> &'static str {
    let behind = child(disk, "address").and_then(|address| address.attribute("type"));
    match (bus, kind, behind) {
        ("virtio", _, Some("ccw")) => "virtio-blk-ccw",
        ("virtio", ..) => "virtio-blk-pci",
        ("scsi", "lun", _) => "scsi-block",
        ("scsi", ..) => "scsi-hd",
        ("ide" | "sata", ..) => "ide-hd",
        ("usb", ..) => "usb-storage",
        ("nvme", ..) => "nvme",
        _ => "",
    }
}

/// The domain's controllers, which say how an address on them is meant.
struct Controllers<'a, 'i> {
    devices: Option<Node<'a, 'i>>,
    buses: pci::Buses,
}

impl<'a> Controllers<'a, '_> {
    /// The model of a SCSI controller.
    fn scsi_model(&self, index: &str) -> Option<&'a str> {
        named(self.devices, "controller")
            .take(MAX_DISKS)
            .find(|one| one.attribute("type") == Some("scsi") && one.attribute("index") == Some(index))
            .and_then(|one| one.attribute("model"))
    }
}

/// Where a disk sits, as the guest may see it.
fn address(at: Node<'_, '_>, bus: &str, controllers: &Controllers<'_, '_>) -> Option<Address> {
    let number = |name| at.attribute(name).and_then(number);
    match at.attribute("type")? {
        "pci" => {
            let (domain, bus) = (number("domain")?, controllers.buses.seen_by_guest(number("bus")?)?);
            let (slot, function) = (number("slot")?, number("function")?);
            Some(Address::Pci(format!("{domain:04x}:{bus:02x}:{slot:02x}.{function:x}")))
        }
        "drive" if bus == "scsi" => {
            let (channel, unit) = (number("bus")?, number("unit")?);
            let model = controllers.scsi_model(at.attribute("controller")?);
            match model.unwrap_or_default() {
                "" | "virtio-scsi" | "virtio-transitional" | "virtio-non-transitional" => {
                    Some(Address::Scsi { channel, target: number("target")?, lun: unit })
                }
                // Old parallel SCSI has no LUNs: the unit is the target.
                "lsilogic" | "am53c974" | "dc390" => Some(Address::Scsi { channel, target: unit, lun: 0 }),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Decimal, or hexadecimal with "0x" before it.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
