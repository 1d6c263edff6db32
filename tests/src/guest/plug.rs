//! Putting disks into a running guest and taking them out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Guest;
use super::disk::{Disk, DiskSpec, FrontEnd, throttle_group};
use super::spec::HOT_PLUG_SLOTS;

/// A disk that the guest has.
#[derive(Debug)]
pub(super) struct Plugged {
    disk: Disk,
    /// The PCI slot that it takes, if it takes one.
    slot: Option<u8>,
    /// Whether it came after the boot, and so can go again.
    removable: bool,
    throttled: bool,
}

/// Device nodes appear a moment after QEMU has the device.
const APPEARS_WITHIN: Duration = Duration::from_secs(20);

impl Guest {
    /// Adds a disk while the guest runs, and returns when the guest has it.
    pub fn add_disk(&self, spec: DiskSpec) -> Result<Disk> {
        if spec.front_end == FrontEnd::Sata {
            bail!("disk {}: SATA has no hot-plug here; give it to GuestSpec::disk", spec.name);
        }
        let image = spec.create(&self.place.images())?;
        let before = self.disk_names()?;
        if spec.throttled {
            self.qmp("object-add", json!({ "qom-type": "throttle-group", "id": spec.throttle_group() }))?;
        }
        self.qmp("blockdev-add", spec.block_node(&image))?;
        let slot = self.free_slot(spec.front_end)?;
        let mut device = spec.device_properties.clone();
        device.insert("driver".into(), spec.front_end.driver().into());
        device.insert("id".into(), spec.name.as_str().into());
        device.insert("drive".into(), spec.name.as_str().into());
        device.insert("bus".into(), slot.map_or("scsi.0".to_owned(), |slot| format!("slot{slot}")).into());
        if let Some(serial) = &spec.serial {
            device.insert("serial".into(), serial.as_str().into());
        }
        self.qmp("device_add", Value::Object(device))?;
        let name = self.wait_for_new_disk(&before).with_context(|| format!("disk {}", spec.name))?;
        let disk = made(&spec, image, &name);
        self.locked(&self.disks).push(Plugged {
            disk: disk.clone(),
            slot,
            removable: true,
            throttled: spec.throttled,
        });
        Ok(disk)
    }

    /// Makes a disk's image and has `attach` give it to the running guest; returns when the guest has it.
    pub(crate) fn add_disk_by(
        &self,
        spec: &DiskSpec,
        attach: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Disk> {
        let image = spec.create(&self.place.images())?;
        let before = self.disk_names()?;
        attach(&image)?;
        let name = self.wait_for_new_disk(&before).with_context(|| format!("disk {}", spec.name))?;
        let disk = made(spec, image, &name);
        let plugged = Plugged { disk: disk.clone(), slot: None, removable: false, throttled: false };
        self.locked(&self.disks).push(plugged);
        Ok(disk)
    }

    /// Takes a disk out of the running guest. Its image stays until the guest goes.
    pub fn remove_disk(&self, disk: &Disk) -> Result<()> {
        let throttled = self.locked(&self.disks).iter().any(|p| p.disk.name == disk.name && p.throttled);
        if throttled {
            // What is still under way would take its time.
            self.limit_writes(disk, 0)?;
        }
        let mut qmp = self.locked(&self.qmp);
        qmp.execute("device_del", json!({ "id": disk.name }))?;
        qmp.wait_for("DEVICE_DELETED", "device", &disk.name)?;
        qmp.execute("blockdev-del", json!({ "node-name": disk.name }))?;
        if throttled {
            qmp.execute("object-del", json!({ "id": throttle_group(&disk.name) }))?;
        }
        self.locked(&self.disks).retain(|plugged| plugged.disk.name != disk.name);
        Ok(())
    }

    /// Lets a throttled disk do so many writes and discards a second; 0: as many as it can.
    pub fn limit_writes(&self, disk: &Disk, per_second: u32) -> Result<()> {
        let group = format!("/objects/{}", throttle_group(&disk.name));
        let limits = json!({ "iops-write": per_second });
        self.qmp("qom-set", json!({ "path": group, "property": "limits", "value": limits })).map(drop)
    }

    /// The disk called `name`, with the device name that it has in this boot.
    pub fn disk(&self, name: &str) -> Result<Disk> {
        let disks = self.locked(&self.disks);
        let found = disks.iter().find(|plugged| plugged.disk.name == name);
        found
            .map(|plugged| plugged.disk.clone())
            .with_context(|| format!("guest {} has no disk {name}", self.name))
    }

    /// Bytes of discard that QEMU passed to the image of `disk`, and how many requests of it failed.
    pub fn arrived(&self, disk: &Disk) -> Result<(u64, u64)> {
        let file_node = self.protocol_node(disk)?;
        let nodes = self.qmp("query-blockstats", json!({ "query-nodes": true }))?;
        let nodes = nodes.as_array().context("query-blockstats: not a list")?;
        let node = nodes.iter().find(|node| node["node-name"] == file_node.as_str());
        let counters = &node.with_context(|| format!("no node {file_node}"))?["driver-specific"];
        let number = |name: &str| counters[name].as_u64().with_context(|| format!("{file_node}: no {name}"));
        Ok((number("discard-bytes-ok")?, number("discard-nb-failed")?))
    }

    /// Bytes of discard that the guest's disk has counted in this boot (Documentation/block/stat.rst, field 14).
    pub fn discarded_bytes(&self, disk: &Disk) -> Result<u64> {
        let name = disk.device.trim_start_matches("/dev/");
        let sectors = self.sh(&format!("awk '{{ print $14 }}' /sys/block/{name}/stat"))?;
        let sectors: u64 = sectors.trim().parse().context("the guest's kernel counts no discards")?;
        Ok(sectors.saturating_mul(512))
    }

    /// Takes out all disks that came after the boot.
    pub(super) fn remove_all_disks(&self) -> Result<()> {
        let removable: Vec<Disk> = {
            let disks = self.locked(&self.disks);
            disks.iter().filter(|plugged| plugged.removable).map(|plugged| plugged.disk.clone()).collect()
        };
        removable.iter().try_for_each(|disk| self.remove_disk(disk))
    }

    /// Learns the guest's names of the disks that were there at boot.
    pub(super) fn adopt_disks(&self, specs: &[DiskSpec], images: &[PathBuf]) -> Result<()> {
        for (spec, image) in specs.iter().zip(images) {
            let serial = spec.serial.as_deref().with_context(|| {
                format!(
                    "disk {}: one that is there at boot needs a serial, or the rig cannot find it",
                    spec.name
                )
            })?;
            let name = self.disk_by_serial(serial)?;
            let plugged = Plugged {
                disk: made(spec, image.clone(), &name),
                slot: None,
                removable: false,
                throttled: false,
            };
            self.locked(&self.disks).push(plugged);
        }
        Ok(())
    }

    /// After a reboot: the same disks may have other names.
    pub(super) fn find_disks_again(&self) -> Result<()> {
        let serials: Vec<Option<String>> =
            self.locked(&self.disks).iter().map(|plugged| plugged.disk.serial.clone()).collect();
        for (at, serial) in serials.iter().enumerate() {
            // Without a serial it keeps its old name, which holds where all disks are on one bus.
            let Some(serial) = serial else { continue };
            let name = self.disk_by_serial(serial)?;
            if let Some(plugged) = self.locked(&self.disks).get_mut(at) {
                plugged.disk.device = format!("/dev/{name}");
            }
        }
        Ok(())
    }

    /// QEMU's name of the node of the disk's file, whoever chose it.
    fn protocol_node(&self, disk: &Disk) -> Result<String> {
        let nodes = self.qmp("query-named-block-nodes", json!({ "flat": true }))?;
        let nodes = nodes.as_array().context("query-named-block-nodes: not a list")?;
        let file = disk.image.to_str().context("an image whose name is not UTF-8")?;
        let node = nodes.iter().find(|node| node["drv"] == "file" && node["file"] == file);
        let name = node.with_context(|| format!("no file node for {file}"))?["node-name"].as_str();
        Ok(name.context("a node without a name")?.to_owned())
    }

    fn disk_names(&self) -> Result<BTreeSet<String>> {
        Ok(self.sh("ls /sys/block")?.split_whitespace().map(str::to_owned).collect())
    }

    fn wait_for_new_disk(&self, before: &BTreeSet<String>) -> Result<String> {
        let start = Instant::now();
        while start.elapsed() < APPEARS_WITHIN {
            let now = self.disk_names()?;
            // Its size is read after its name appears; before that it cannot be used.
            if let Some(name) = now.difference(before).next()
                && self.sh(&format!("test -b /dev/{name} && cat /sys/block/{name}/size"))?.trim() != "0"
            {
                return Ok(name.clone());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the guest does not see it")
    }

    fn disk_by_serial(&self, serial: &str) -> Result<String> {
        // virtio-blk, NVMe, SCSI and SATA each keep it elsewhere; the kernel pads some of them.
        let name = self.sh(&format!(
            "for file in /sys/block/*/serial /sys/block/*/device/serial /sys/block/*/device/vpd_pg80; do
                 [ -e $file ] || continue
                 if tr -d '\\0' <$file | grep -qw -- '{serial}'; then echo $file | cut -d/ -f4; break; fi
             done"
        ))?;
        match name.trim() {
            "" => bail!("the guest sees no disk with serial {serial}"),
            name => Ok(name.to_owned()),
        }
    }

    fn free_slot(&self, front_end: FrontEnd) -> Result<Option<u8>> {
        if front_end == FrontEnd::VirtioScsi {
            return Ok(None);
        }
        let disks = self.locked(&self.disks);
        let free = (0..HOT_PLUG_SLOTS).find(|slot| disks.iter().all(|plugged| plugged.slot != Some(*slot)));
        free.map(Some).context("no PCI slot is free")
    }
}

fn made(spec: &DiskSpec, image: PathBuf, name: &str) -> Disk {
    Disk {
        name: spec.name.clone(),
        serial: spec.serial.clone(),
        device: format!("/dev/{name}"),
        image,
        format: spec.format,
    }
}
