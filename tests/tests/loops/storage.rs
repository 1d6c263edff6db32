//! The controller's look at images, on the host filesystems that it meets.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use trimtab_controller::{
    image::HostStorage,
    model::{
        image::{Format, Image},
        trouble::Kind,
    },
    trim::ports::Storage,
};
use trimtab_tests::MIB;
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};

fn image(path: &Path) -> Image {
    Image { path: path.to_owned(), format: Format::Raw }
}

fn run(program: &str, words: &[&str], path: &Path) -> Result<()> {
    let status = Command::new(program).args(words).arg(path).status()?;
    ensure!(status.success(), "{program} {words:?} {}: {status}", path.display());
    Ok(())
}

/// 64 MiB that no filesystem can compress or leave out, in extents of 1 MiB: btrfs keeps an extent as long as any of it
/// is in use, so of one large extent a hole would give nothing back.
fn fill(path: &Path) -> Result<()> {
    run(
        "dd",
        &["if=/dev/urandom", "bs=1M", "count=64", "oflag=dsync", "status=none"],
        Path::new(&format!("of={}", path.display())),
    )
}

#[tokio::test]
async fn a_punched_hole_is_seen_once_settled() -> Result<()> {
    for filesystem in Filesystem::ALL {
        let name = filesystem.as_str();
        let disk = LoopDisk::mount(filesystem, 512 * MIB)?;
        let path = disk.path().join("guest.img");
        let guest = image(&path);
        fill(&path)?;
        HostStorage.settle(&guest).await?;
        let before = HostStorage.allocation(&guest).await?;
        ensure!(before.allocated_bytes >= 64 * MIB && before.length_bytes == 64 * MIB, "{name}: {before:?}");
        let store = HostStorage.datastore(&guest).await?;
        ensure!(store.fs_type == name && store.path == disk.path(), "{name}: {store:?}");

        // What QEMU does with a discard.
        run("fallocate", &["-p", "-o", "0", "-l", "32M"], &path)?;
        HostStorage.settle(&guest).await?;
        let after = HostStorage.allocation(&guest).await?;
        let freed = before.allocated_bytes.saturating_sub(after.allocated_bytes);
        ensure!(freed == 32 * MIB, "{name}: freed {freed}");
        let gained = HostStorage.datastore(&guest).await?.free_bytes.saturating_sub(store.free_bytes);
        ensure!(gained >= 31 * MIB, "{name}: the filesystem gained {gained}");
        ensure!(before.file == after.file, "{name}: another file");
    }
    Ok(())
}

#[tokio::test]
async fn shared_extents_are_told() -> Result<()> {
    for (filesystem, expected) in
        [(Filesystem::Ext4, None), (Filesystem::Xfs, Some(true)), (Filesystem::Btrfs, Some(true))]
    {
        let name = filesystem.as_str();
        let disk = LoopDisk::mount(filesystem, 512 * MIB)?;
        let (path, clone) = (disk.path().join("guest.img"), disk.path().join("clone.img"));
        fill(&path)?;
        ensure!(HostStorage.shares_extents(&image(&path)).await == Some(false), "{name}: alone");
        if expected.is_some() {
            run("cp", &["--reflink=always", &path.display().to_string()], &clone)?;
            ensure!(HostStorage.shares_extents(&image(&path)).await == expected, "{name}: with a clone");
        }
    }
    Ok(())
}

#[tokio::test]
async fn subvolumes_are_one_datastore() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Btrfs, 512 * MIB)?;
    let (first, second) = (disk.path().join("first"), disk.path().join("second"));
    for subvolume in [&first, &second] {
        run("btrfs", &["-q", "subvolume", "create"], subvolume)?;
        fs::write(subvolume.join("guest.img"), [7; 4096])?;
    }
    let one = image(&first.join("guest.img"));
    let other = image(&second.join("guest.img"));
    ensure!(HostStorage.allocation(&one).await?.file.0 != HostStorage.allocation(&other).await?.file.0);
    ensure!(HostStorage.datastore(&one).await?.id == HostStorage.datastore(&other).await?.id);
    Ok(())
}

#[tokio::test]
async fn a_volume_lies_on_no_filesystem() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 64 * MIB)?;
    let volume = image(Path::new(disk.device()));
    ensure!(HostStorage.allocation(&volume).await?.is_block_device);
    let Err(trouble) = HostStorage.datastore(&volume).await else {
        anyhow::bail!("{} has a datastore", disk.device());
    };
    ensure!(trouble.kind == Kind::Image && trouble.text.contains("block device"), "{trouble}");
    Ok(())
}
