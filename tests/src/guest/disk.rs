//! A guest's disk: what it is to be, and, once it is there, what the host can say about its image.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use crate::loop_disk::Filesystem;

/// The image's format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// The disk's bytes as they are.
    Raw,
    /// Clusters behind two levels of tables.
    Qcow2,
}

/// What QEMU puts in front of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrontEnd {
    /// `scsi-hd` on virtio-scsi.
    VirtioScsi,
    /// `virtio-blk-pci`.
    VirtioBlk,
    /// `ide-hd` on AHCI. Cannot be added to a running guest.
    Sata,
    /// `nvme`.
    Nvme,
}

/// QEMU's `discard=` of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discard {
    /// Discards go down to the image.
    Unmap,
    /// Discards are answered and dropped.
    Ignore,
    /// Not said, as in most old machines; QEMU takes it for `ignore`.
    Unset,
}

/// A disk to be. Starts as a raw one with `discard=unmap` on virtio-scsi, with its name as its serial.
#[derive(Clone, Debug)]
pub struct DiskSpec {
    pub(crate) name: String,
    pub(super) size_bytes: u64,
    pub(crate) format: Format,
    pub(crate) front_end: FrontEnd,
    pub(crate) discard: Discard,
    file_discard: Option<Discard>,
    pub(crate) serial: Option<String>,
    create_options: Vec<String>,
    backing: Option<(PathBuf, Format)>,
    image: Option<PathBuf>,
    copy_of: Option<PathBuf>,
    filesystem: Option<Filesystem>,
    format_properties: Map<String, Value>,
    pub(super) device_properties: Map<String, Value>,
    pub(super) throttled: bool,
}

impl DiskSpec {
    /// A disk called `name`, also its serial, its device id and its node's name in QEMU.
    pub fn new(name: &str, size_bytes: u64) -> Self {
        Self {
            name: name.to_owned(),
            size_bytes,
            format: Format::Raw,
            front_end: FrontEnd::VirtioScsi,
            discard: Discard::Unmap,
            file_discard: None,
            serial: Some(name.to_owned()),
            create_options: Vec::new(),
            backing: None,
            image: None,
            copy_of: None,
            filesystem: None,
            format_properties: Map::new(),
            device_properties: Map::new(),
            throttled: false,
        }
    }

    /// The image's format.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// The same as `format(Format::Qcow2)`.
    #[must_use]
    pub fn qcow2(self) -> Self {
        self.format(Format::Qcow2)
    }

    /// What the guest sees.
    #[must_use]
    pub fn on(mut self, front_end: FrontEnd) -> Self {
        self.front_end = front_end;
        self
    }

    /// QEMU's `discard=`.
    #[must_use]
    pub fn discard(mut self, discard: Discard) -> Self {
        self.discard = discard;
        self
    }

    /// Another `discard=` for the file's node than for the format's above it.
    #[must_use]
    pub fn file_discard(mut self, discard: Discard) -> Self {
        self.file_discard = Some(discard);
        self
    }

    /// Another serial than the name.
    #[must_use]
    pub fn serial(mut self, serial: &str) -> Self {
        self.serial = Some(serial.to_owned());
        self
    }

    /// No serial, as libvirt leaves it by default. Not for NVMe, which must have one.
    #[must_use]
    pub fn without_serial(mut self) -> Self {
        self.serial = None;
        self
    }

    /// An option for `qemu-img create -o`, such as `cluster_size=2M`.
    #[must_use]
    pub fn created_with(mut self, option: &str) -> Self {
        self.create_options.push(option.to_owned());
        self
    }

    /// An overlay over `image`; implies qcow2.
    #[must_use]
    pub fn over(mut self, image: &Path, format: Format) -> Self {
        self.backing = Some((image.to_path_buf(), format));
        self.qcow2()
    }

    /// An image that is there already instead of a new one.
    #[must_use]
    pub fn image(mut self, path: &Path) -> Self {
        self.image = Some(path.to_path_buf());
        self
    }

    /// A raw image that starts as a sparse copy of this one.
    #[must_use]
    pub fn copy_of(mut self, image: &Path) -> Self {
        self.copy_of = Some(image.to_path_buf());
        self
    }

    /// A raw image that the host makes this filesystem on, with the disk's name as its label.
    #[must_use]
    pub fn made_with(mut self, filesystem: Filesystem) -> Self {
        self.filesystem = Some(filesystem);
        self
    }

    /// A property of the format's block node, such as `pass-discard-request`.
    #[must_use]
    pub fn format_property(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.format_properties.insert(name.to_owned(), value.into());
        self
    }

    /// A property of the device, such as `discard_granularity`, or `discard` = false of an old machine type's
    /// virtio-blk.
    #[must_use]
    pub fn device_property(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.device_properties.insert(name.to_owned(), value.into());
        self
    }

    /// Behind a throttle filter, so that `Guest::limit_writes` can slow it down. Only for a disk that is added to a
    /// running guest.
    #[must_use]
    pub fn throttled(mut self) -> Self {
        self.throttled = true;
        self
    }

    /// Makes the sparse image in `directory`, unless there is one.
    pub(crate) fn create(&self, directory: &Path) -> Result<PathBuf> {
        if let Some(image) = &self.image {
            return Ok(image.clone());
        }
        let path = directory.join(format!("{}.{}", self.name, self.format.as_str()));
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", self.format.as_str()]);
        if let Some((backing, format)) = &self.backing {
            create.arg("-b").arg(backing).args(["-F", format.as_str()]);
        }
        for option in &self.create_options {
            create.args(["-o", option]);
        }
        run(create.arg(&path).arg(self.size_bytes.to_string()))?;
        if let Some(image) = &self.copy_of {
            run(Command::new("cp").arg("--sparse=always").arg(image).arg(&path))?;
        }
        if let Some(filesystem) = self.filesystem {
            let mut words = filesystem.mkfs().split_whitespace();
            let mut mkfs = Command::new(words.next().unwrap_or_default());
            run(mkfs.args(words).args(["-L", &self.name]).arg(&path))?;
        }
        Ok(path)
    }

    /// The arguments of `blockdev-add`. The file's node wants the same `discard` as the format's.
    pub(super) fn block_node(&self, image: &Path) -> Value {
        let mut node = self.format_properties.clone();
        node.insert("driver".into(), self.format.as_str().into());
        let mut file = json!({ "driver": "file", "filename": image, "node-name": self.file_node() });
        if let Some(discard) = self.discard.as_str() {
            node.insert("discard".into(), discard.into());
        }
        if let Some(discard) = self.file_discard.unwrap_or(self.discard).as_str() {
            file["discard"] = discard.into();
        }
        node.insert("file".into(), file);
        if self.throttled {
            // Each node on the way drops discards that it was not told to pass on.
            let discard = node.get("discard").cloned();
            let filter =
                json!({ "driver": "throttle", "throttle-group": self.throttle_group(), "file": node });
            node = filter.as_object().cloned().unwrap_or_default();
            node.extend(discard.map(|discard| ("discard".to_owned(), discard)));
        }
        node.insert("node-name".into(), self.name.as_str().into());
        Value::Object(node)
    }

    pub(super) fn throttle_group(&self) -> String {
        throttle_group(&self.name)
    }

    /// The value of QEMU's `-drive`, for a disk that is there at boot.
    pub(super) fn drive_option(&self, image: &Path) -> String {
        let mut option = format!(
            "file={},if=none,id={},format={}",
            image.display().to_string().replace(',', ",,"),
            self.name,
            self.format.as_str()
        );
        if let Some(discard) = self.discard.as_str() {
            option.push_str(",discard=");
            option.push_str(discard);
        }
        if let Some(discard) = self.file_discard.and_then(Discard::as_str) {
            option.push_str(",file.discard=");
            option.push_str(discard);
        }
        for (name, value) in &self.format_properties {
            option.push_str(&format!(",{name}={}", option_value(value)));
        }
        option
    }

    pub(super) fn file_node(&self) -> String {
        format!("{}-file", self.name)
    }
}

/// The QOM id of the group that a throttled disk is in, alone.
pub(super) fn throttle_group(disk: &str) -> String {
    format!("{disk}-throttle")
}

/// A disk that a guest has.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its name, and its device's id in QEMU.
    pub name: String,
    /// Its serial, if it has one.
    pub serial: Option<String>,
    /// The guest's name for it, such as `/dev/sda`. Another boot may give another one.
    pub device: String,
    /// Its image on the host.
    pub image: PathBuf,
    /// The image's format.
    pub format: Format,
}

impl Disk {
    /// Bytes that the image occupies on the host.
    pub fn allocated_bytes(&self) -> Result<u64> {
        allocated_bytes(&self.image)
    }
}

/// Bytes that a file occupies, as `du` counts them, after it is written back: only then has all of it a place.
pub fn allocated_bytes(path: &Path) -> Result<u64> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.sync_all()?;
    Ok(file.metadata()?.blocks().saturating_mul(512))
}

/// Runs a program to its end. Where only root has it in its PATH, there too.
fn run(command: &mut Command) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    let done = command
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !done.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// A JSON value as QEMU's comma-separated options have it.
pub(super) fn option_value(value: &Value) -> String {
    match value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::String(text) => text.replace(',', ",,"),
        other => other.to_string(),
    }
}

impl Format {
    /// QEMU's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

impl FrontEnd {
    /// QEMU's device driver.
    pub fn driver(self) -> &'static str {
        match self {
            Self::VirtioScsi => "scsi-hd",
            Self::VirtioBlk => "virtio-blk-pci",
            Self::Sata => "ide-hd",
            Self::Nvme => "nvme",
        }
    }
}

impl Discard {
    /// QEMU's word; none where nothing is said.
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Unmap => Some("unmap"),
            Self::Ignore => Some("ignore"),
            Self::Unset => None,
        }
    }
}
