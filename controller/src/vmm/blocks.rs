//! QEMU's block layer as QMP tells it → disks and counters. Pure: parsed answers in, model out.
//!
//! The graph of a disk is read from the tree that `query-blockstats` returns, not from a graph query: each entry holds
//! its device's top node, `parent` is the one child that stores its data (bdrv_query_bds_stats() in block/qapi.c;
//! the name is historical: it is what `file` is in -blockdev, or a qcow2's data-file), and `backing` the image below.
//! That tree has had node names and the counters of the file node together since QEMU 4.2, and one answer is one
//! reading. `children` of query-named-block-nodes is much younger, x-debug-query-block-graph promises nothing.
//!
//! ```text
//! device ── top node ── (filters) ── format node ──parent── protocol node: filename, discard-bytes-ok
//!                                        └──backing── format node ──parent── protocol node
//! ```

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::model::{
    disk::{DiskCounters, DriveDiscard, FreedClusters, HostDisk, SaidBy, VmState},
    image::{Format, Image},
};

/// Drivers that pass their one child through (`is_filter` in QEMU's block/): no format, no image.
const FILTERS: [&str; 13] = [
    "backup-top",
    "blkdebug",
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "commit_top",
    "compress",
    "copy-before-write",
    "copy-on-read",
    "mirror_top",
    "preallocate",
    "replication",
    "throttle",
];

/// query-status.
#[derive(Deserialize)]
pub(super) struct Status {
    running: bool,
    status: String,
}

impl Status {
    pub(super) fn state(self) -> VmState {
        if self.running { VmState::Running } else { VmState::Stopped(self.status) }
    }
}

/// An entry of query-block: a drive or a device.
#[derive(Deserialize)]
pub(super) struct Block {
    /// The id of a -drive; empty for a device over -blockdev.
    #[serde(default)]
    device: String,
    /// The id or QOM path of the device; none for a drive that no device uses.
    qdev: Option<String>,
    /// The medium can be taken out: CD-ROM, floppy, SD card.
    removable: bool,
    inserted: Option<Inserted>,
}

#[derive(Deserialize)]
struct Inserted {
    ro: bool,
}

/// An entry of query-named-block-nodes.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Node {
    node_name: String,
    drv: String,
    /// Its file name; `json:…` where no plain name says it all.
    file: String,
    image: NodeImage,
    #[serde(default)]
    dirty_bitmaps: Vec<Bitmap>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct NodeImage {
    virtual_size: u64,
}

#[derive(Deserialize)]
struct Bitmap {
    /// A job's own bitmap has none.
    name: Option<String>,
}

/// An entry of query-blockstats, and each node below it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Stats {
    qdev: Option<String>,
    node_name: Option<String>,
    stats: DeviceStats,
    parent: Option<Box<Stats>>,
    backing: Option<Box<Stats>>,
    driver_specific: Option<DriverSpecific>,
}

#[derive(Deserialize)]
struct DeviceStats {
    wr_bytes: u64,
    failed_rd_operations: u64,
    failed_wr_operations: u64,
    failed_flush_operations: u64,
}

impl DeviceStats {
    fn failed_io(&self) -> u64 {
        let of_writing = self.failed_wr_operations.saturating_add(self.failed_flush_operations);
        self.failed_rd_operations.saturating_add(of_writing)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DriverSpecific {
    discard_bytes_ok: Option<u64>,
    discard_nb_failed: Option<u64>,
}

/// An entry of query-block-jobs.
#[derive(Deserialize)]
pub(super) struct Job {
    /// The job's id: by default its drive's.
    device: String,
    status: String,
}

/// A disk, and the names by which QEMU's command line may know it.
pub(super) struct FoundDisk {
    /// All but what the device and the command line tell.
    pub(super) disk: HostDisk,
    /// The id of its -drive; empty for -blockdev.
    pub(super) drive: String,
    /// Its top node.
    pub(super) node: String,
    /// The file name of its image, as QEMU was given it; of its protocol node where the image has none of its own.
    pub(super) file: String,
}

impl Stats {
    fn name(&self) -> &str {
        self.node_name.as_deref().unwrap_or_default()
    }

    /// From this node down to the one that stores the data.
    fn data_path(&self) -> Vec<&Stats> {
        std::iter::successors(Some(self), |node| node.parent.as_deref()).collect()
    }
}

/// The counters of every device with a medium, by its qdev id or path.
pub(super) fn counters(stats: &[Stats]) -> Vec<(String, DiskCounters)> {
    let one = |entry: &Stats| {
        let device = entry.qdev.clone()?;
        entry.node_name.as_ref()?;
        let protocol = entry.data_path().last().and_then(|node| node.driver_specific.as_ref());
        let counters = DiskCounters {
            written_bytes: Some(entry.stats.wr_bytes),
            arrived_bytes: protocol.and_then(|counted| counted.discard_bytes_ok),
            failed_requests: protocol.and_then(|counted| counted.discard_nb_failed),
            failed_io: Some(entry.stats.failed_io()),
        };
        Some((device, counters))
    };
    stats.iter().filter_map(one).collect()
}

/// The writable disks with a medium that cannot be taken out. `absolute` makes a relative file name whole, where that
/// can be done.
pub(super) fn disks(
    blocks: &[Block],
    nodes: &[Node],
    stats: &[Stats],
    jobs: &[Job],
    absolute: impl Fn(&str) -> Option<PathBuf>,
) -> Vec<FoundDisk> {
    let nodes: HashMap<&str, &Node> = nodes.iter().map(|node| (node.node_name.as_str(), node)).collect();
    let mut found = Vec::new();
    for block in blocks {
        let (Some(qdev), Some(inserted)) = (&block.qdev, &block.inserted) else { continue };
        if block.removable || inserted.ro {
            continue;
        }
        let Some(entry) = stats.iter().find(|entry| entry.qdev.as_deref() == Some(qdev)) else { continue };
        found.push(disk(block, qdev, entry, &nodes, &absolute));
    }
    assign_jobs(&mut found, jobs);
    found
}

fn disk(
    block: &Block,
    qdev: &str,
    entry: &Stats,
    nodes: &HashMap<&str, &Node>,
    absolute: &impl Fn(&str) -> Option<PathBuf>,
) -> FoundDisk {
    let top = Layer::of(entry, nodes);
    let mut backing = Vec::new();
    let mut bitmaps = top.bitmaps;
    let mut below = top.backing;
    while let Some(entry) = below {
        let layer = Layer::of(entry, nodes);
        bitmaps = bitmaps.saturating_add(layer.bitmaps);
        backing.extend(layer.image(absolute));
        below = layer.backing;
    }
    FoundDisk {
        disk: HostDisk {
            device: qdev.to_owned(),
            image: top.image(absolute),
            protocol: top.protocol.map(|node| node.drv.clone()).unwrap_or_default(),
            backing,
            data_file: top.data_file(absolute),
            virtual_bytes: nodes.get(entry.name()).map(|node| node.image.virtual_size),
            serial: None,
            wwn: None,
            address: None,
            front_end: String::new(),
            guest_name: None,
            target: None,
            shareable: false,
            discard: DriveDiscard::Unknown,
            discard_said_by: SaidBy::default(),
            freed_clusters: FreedClusters::default(),
            block_job: None,
            dirty_bitmaps: u32::try_from(bitmaps).unwrap_or(u32::MAX),
        },
        drive: block.device.clone(),
        node: entry.name().to_owned(),
        // A command line names the qcow2, and seldom the data file that the qcow2 names.
        file: top.file.or(top.protocol.map(|node| node.file.as_str())).unwrap_or_default().to_owned(),
    }
}

/// One image of a chain: its nodes from the top down to the protocol.
struct Layer<'a> {
    format: Format,
    /// Its file name, as QEMU was given it; none where it lies in several.
    file: Option<&'a str>,
    protocol: Option<&'a Node>,
    backing: Option<&'a Stats>,
    bitmaps: usize,
}

impl<'a> Layer<'a> {
    fn of(entry: &'a Stats, nodes: &HashMap<&str, &'a Node>) -> Self {
        let path = entry.data_path();
        let known: Vec<&'a Node> = path.iter().filter_map(|at| nodes.get(at.name()).copied()).collect();
        let bitmaps =
            known.iter().flat_map(|node| &node.dirty_bitmaps).filter(|one| one.name.is_some()).count();
        // A filter shows the node that it filters as `backing` too; the image below is what its format node backs.
        let is_filter = |at: &&&Stats| nodes.get(at.name()).is_some_and(|node| node.is_filter());
        let backing = path.iter().find(|at| !is_filter(at)).and_then(|at| at.backing.as_deref());
        // A node that vanished between two answers leaves a path with a hole: nothing is said of such an image.
        let protocol = known.last().copied().filter(|_| known.len() == path.len());
        let (format, file) = match protocol {
            Some(protocol) => format(&known, protocol),
            None => (Format::Other(String::new()), None),
        };
        Self { format, file, protocol, backing, bitmaps }
    }

    /// Where it lies, if that is a file or device of this host.
    fn image(&self, absolute: &impl Fn(&str) -> Option<PathBuf>) -> Option<Image> {
        self.protocol.filter(|node| node.is_of_this_host())?;
        Some(Image { path: path_of(self.file?, absolute)?, format: self.format.clone() })
    }

    /// Where a qcow2 keeps the guest's data outside of itself.
    fn data_file(&self, absolute: &impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
        let node = self.protocol.filter(|node| node.is_of_this_host() && self.format == Format::Qcow2)?;
        (self.file != Some(node.file.as_str())).then(|| path_of(&node.file, absolute))?
    }
}

/// A file name that QEMU was given as a path of this host.
fn path_of(name: &str, absolute: &impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // Under /dev/fdset/ are descriptors that were passed in: their name is not known.
    let is_name = !name.starts_with("json:") && !name.starts_with("/dev/fdset/");
    match is_name.then_some(Path::new(name))? {
        path if path.is_absolute() => Some(path.to_owned()),
        _ => absolute(name),
    }
}

impl Node {
    /// A file or device of this host.
    fn is_of_this_host(&self) -> bool {
        matches!(self.drv.as_str(), "file" | "host_device")
    }

    fn is_filter(&self) -> bool {
        FILTERS.contains(&self.drv.as_str())
    }
}

/// What stands between the guest and the protocol node, and in which file.
fn format<'a>(path: &[&'a Node], protocol: &'a Node) -> (Format, Option<&'a str>) {
    let above = path.split_last().map(|(_, above)| above).unwrap_or_default();
    let formats: Vec<&Node> =
        above.iter().copied().filter(|node| node.drv != "raw" && !node.is_filter()).collect();
    let file = Some(protocol.file.as_str());
    match formats.as_slice() {
        [] => (Format::Raw, file),
        // A qcow2 whose data lies in another file: the image is the one with the header, which says so too. That
        // other file is the guest's, byte for byte, and must never be read as a qcow2.
        [one] if one.file.starts_with("json:") && one.file.contains("\"data-file\"") => {
            (Format::parse(&one.drv), None)
        }
        [one] if !one.file.starts_with("json:") => (Format::parse(&one.drv), Some(one.file.as_str())),
        [one] => (Format::parse(&one.drv), file),
        several => {
            let names: Vec<_> = several.iter().map(|node| node.drv.as_str()).collect();
            (Format::Other(names.join(" over ")), file)
        }
    }
}

/// A job names its drive only by default. One that no disk answers to counts for all of them: it is better to wait for
/// a neighbour's job than to trim under one's own.
fn assign_jobs(disks: &mut [FoundDisk], jobs: &[Job]) {
    for job in jobs {
        let id = job.device.as_str();
        let is_its = |found: &FoundDisk| found.drive == id || found.node == id || found.disk.device == id;
        let nobodys = !disks.iter().any(is_its);
        for found in disks.iter_mut() {
            if nobodys || is_its(found) {
                found.disk.block_job = Some(job.status.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
