//! The demo: a file is deleted in a real guest, and its image on the host becomes smaller, with proof.
//!
//! Each step says in a line what it does and shows what a person would type and see. Nothing is decided by what
//! `trimtab` prints: the images' allocation and the files' checksums are read anew at the end.
//!
//! An interrupt needs no handler: all that the demo started, and its directory, is with a keeper.

mod figures;
mod show;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::guest::{Disk, DiskSpec, Guest, GuestSpec, allocated_bytes};
use crate::loop_disk::Filesystem;
use crate::{GIB, MIB, programs};
use figures::{Figures, size};
use show::{during, guest_line, host_line, line, output, step};

/// One filesystem of the guest, on a disk of its own.
struct Volume {
    filesystem: Filesystem,
    mount: &'static str,
    disk: Disk,
    /// MiB to write and delete.
    deleted_mib: u64,
}

impl Volume {
    fn big_file(&self) -> String {
        format!("{}/old-logs.bin", self.mount)
    }
}

/// Runs the demo.
pub fn run() -> Result<ExitCode> {
    line("trimtab demo: the space that a guest no longer uses, given back to its host, and proven")?;
    line("A throwaway guest in software emulation. Outside of a temporary directory nothing is touched.")?;
    // Before a guest is booted in vain.
    let trimtab = programs::trimtab()?;

    let (guest, volumes) = boot()?;
    let sums = fill(&guest, &volumes)?;
    look(&guest)?;
    let before = delete(&guest, &volumes)?;
    let trimmed = trim(&guest, &trimtab)?;
    verify(&guest, &volumes, &sums, &before, trimmed)
}

fn boot() -> Result<(Guest, Vec<Volume>)> {
    step("boot a guest with two sparse disks of 4 GiB: raw and qcow2, both on virtio-scsi")?;
    let spec =
        GuestSpec::new("demo").disk(DiskSpec::new("web", 4 * GIB)).disk(DiskSpec::new("db", 4 * GIB).qcow2());
    let guest = during("booting", || None, || Guest::boot(spec))?;
    line(&format!("   {}", guest.sh("uname -sr")?.trim()))?;
    let volumes = vec![
        Volume {
            filesystem: Filesystem::Ext4,
            mount: "/srv/web",
            disk: guest.disk("web")?,
            deleted_mib: 256,
        },
        Volume { filesystem: Filesystem::Xfs, mount: "/srv/db", disk: guest.disk("db")?, deleted_mib: 128 },
    ];
    for Volume { filesystem, mount, disk, .. } in &volumes {
        let make = format!("{} {}", filesystem.mkfs(), disk.device);
        let attach = format!("mkdir -p {mount} && mount {} {mount}", disk.device);
        guest_line(&format!("{make} && {attach}"))?;
        during("making it", || None, || guest.sh(&format!("{make}; {attach}")))?;
    }
    Ok((guest, volumes))
}

/// Files that stay, and the big one that goes. Returns the checksums of those that stay.
fn fill(guest: &Guest, volumes: &[Volume]) -> Result<String> {
    step("write files that stay, and note their checksums")?;
    let sums = during(
        "writing",
        || None,
        || -> Result<String> {
            for Volume { mount, .. } in volumes {
                guest.write_noise(&format!("{mount}/stays.bin"), 24)?;
                guest.sh(&format!("for i in $(seq 20); do seq $i 9999 >{mount}/stays-$i.txt; done; sync"))?;
            }
            checksums(guest, volumes)
        },
    )?;
    line(&format!("   {} files on two filesystems", sums.lines().count()))?;
    show_allocated("the images before", guest, volumes)?;

    step("write 384 MiB of incompressible data (/dev/urandom)")?;
    for volume in volumes {
        let big = volume.big_file();
        let write = format!("dd if=/dev/urandom of={big} bs=1M count={} conv=fsync", volume.deleted_mib);
        guest_line(&write)?;
        let image = volume.disk.image.clone();
        let grown = move || allocated_bytes(&image).ok().map(|bytes| format!("image at {}", size(bytes)));
        during("writing", grown, || guest.sh(&format!("{write} 2>/dev/null")))?;
    }
    show_allocated("the images have grown", guest, volumes)?;
    Ok(sums)
}

/// What the seed looks at by hand: can the guest's disks discard, and does QEMU let it through?
fn look(guest: &Guest) -> Result<()> {
    step("can the guest's disks discard?")?;
    let read = "cd /sys/block && grep . sd[ab]/queue/discard_*";
    guest_line(read)?;
    output(&guest.sh(read)?)?;
    step("does QEMU pass discards on? The guest cannot see this")?;
    host_line("tr '\\0' '\\n' < /proc/$QEMU/cmdline | grep discard=")?;
    for word in guest.qemu_command_line()?.iter().filter(|word| word.contains("discard=")) {
        output(word)?;
    }
    line("   (in libvirt's XML: <driver name='qemu' discard='unmap'/>)")
}

/// What is known of a disk before the trim.
struct Before {
    allocated_bytes: u64,
    discarded_bytes: u64,
}

/// Deletes the big files; returns how things are afterwards. The images still have their old size.
fn delete(guest: &Guest, volumes: &[Volume]) -> Result<Vec<Before>> {
    step("delete it in the guest")?;
    for volume in volumes {
        let delete = format!("rm {}; sync", volume.big_file());
        guest_line(&delete)?;
        guest.sh(&delete)?;
    }
    show_allocated("and the images keep every byte", guest, volumes)?;
    let before = |Volume { disk, .. }: &Volume| {
        Ok(Before { allocated_bytes: disk.allocated_bytes()?, discarded_bytes: guest.discarded_bytes(disk)? })
    };
    volumes.iter().map(before).collect()
}

fn trim(guest: &Guest, trimtab: &Path) -> Result<bool> {
    step("start the agent in the guest, and trim from the host over vsock")?;
    guest_line("trimtab-agent serve &")?;
    guest.start_agent("")?;
    let inventory = guest.write_inventory()?;
    host_line(&format!("trimtab --inventory {} trim {}", inventory.display(), guest.name()))?;
    line("")?;
    let status = Command::new(trimtab)
        .arg("--inventory")
        .arg(&inventory)
        .args(["trim", guest.name()])
        .status()
        .with_context(|| format!("cannot run {}", trimtab.display()))?;
    line("")?;
    Ok(status.success())
}

/// Reads everything anew and compares.
fn verify(
    guest: &Guest,
    volumes: &[Volume],
    sums: &str,
    before: &[Before],
    trimmed: bool,
) -> Result<ExitCode> {
    step("believe nobody: measure again")?;
    show_allocated("the images now", guest, volumes)?;
    guest_line("sha256sum of all files that stayed")?;
    let unharmed = during("reading", || None, || checksums(guest, volumes))? == sums;
    line(if unharmed { "   the same as before" } else { "   NOT the same as before" })?;

    let mut figures = Vec::new();
    for (volume, before) in volumes.iter().zip(before) {
        figures.push(Figures {
            name: format!("{} on {}", volume.filesystem.as_str(), volume.disk.format.as_str()),
            deleted_bytes: volume.deleted_mib.saturating_mul(MIB),
            trimmed_bytes: guest.discarded_bytes(&volume.disk)?.saturating_sub(before.discarded_bytes),
            before_bytes: before.allocated_bytes,
            after_bytes: volume.disk.allocated_bytes()?,
        });
    }
    figures::table(&figures)?;
    let shrank = figures.iter().all(Figures::came_back);
    let good = trimmed && unharmed && shrank;
    for (fine, trouble) in [
        (trimmed, "trimtab did not end well"),
        (unharmed, "a file that stayed has changed"),
        (shrank, "an image did not shrink by what was deleted"),
    ] {
        if !fine {
            line(&format!("FAILED: {trouble}"))?;
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn checksums(guest: &Guest, volumes: &[Volume]) -> Result<String> {
    let mounts: Vec<&str> = volumes.iter().map(|volume| volume.mount).collect();
    // Not from memory: from the disks.
    let read = "echo 3 >/proc/sys/vm/drop_caches; find";
    guest.sh(&format!("{read} {} -name 'stays*' -type f | sort | xargs sha256sum", mounts.join(" ")))
}

fn show_allocated(what: &str, guest: &Guest, volumes: &[Volume]) -> Result<()> {
    line(&format!("   {what}:"))?;
    let mut du = Command::new("du");
    du.arg("-h").current_dir(guest.image_directory());
    for volume in volumes {
        // Written back first, as `du` counts only what has a place.
        volume.disk.allocated_bytes()?;
        du.arg(volume.disk.image.file_name().context("an image without a name")?);
    }
    let shown = du.output().context("cannot run du")?;
    host_line("du -h web.raw db.qcow2")?;
    output(&String::from_utf8_lossy(&shown.stdout))
}
