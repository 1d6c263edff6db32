//! The controller's look at images, on the host filesystems that it meets.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use trimtab_controller::{
    image::HostStorage,
    model::{
        image::{Allocation, Datastore, Format, Image, Underneath},
        volume::Volume,
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

fn taken(found: &Allocation) -> Result<u64> {
    found.allocated_bytes.context("not measured")
}

async fn datastore(image: &Image) -> Result<Datastore> {
    HostStorage.datastore(image).await?.context("no datastore")
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
        let full = taken(&before)?;
        ensure!(full >= 64 * MIB && before.length_bytes == 64 * MIB, "{name}: {before:?}");
        let store = datastore(&guest).await?;
        ensure!(store.fs_type == name && store.path == disk.path(), "{name}: {store:?}");

        // What QEMU does with a discard.
        run("fallocate", &["-p", "-o", "0", "-l", "32M"], &path)?;
        HostStorage.settle(&guest).await?;
        let after = HostStorage.allocation(&guest).await?;
        let freed = full.saturating_sub(taken(&after)?);
        ensure!(freed == 32 * MIB, "{name}: freed {freed}");
        let gained = datastore(&guest).await?.free_bytes.saturating_sub(store.free_bytes);
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
async fn a_hole_in_what_a_clone_shares_gives_the_filesystem_nothing() -> Result<()> {
    for filesystem in [Filesystem::Xfs, Filesystem::Btrfs] {
        let name = filesystem.as_str();
        let disk = LoopDisk::mount(filesystem, 512 * MIB)?;
        let (path, clone) = (disk.path().join("guest.img"), disk.path().join("clone.img"));
        fill(&path)?;
        run("cp", &["--reflink=always", &path.display().to_string()], &clone)?;
        let guest = image(&path);
        HostStorage.settle(&guest).await?;
        let (before, store) = (taken(&HostStorage.allocation(&guest).await?)?, datastore(&guest).await?);
        run("fallocate", &["-p", "-o", "0", "-l", "32M"], &path)?;
        HostStorage.settle(&guest).await?;
        let fell = before.saturating_sub(taken(&HostStorage.allocation(&guest).await?)?);
        let gained = datastore(&guest).await?.free_bytes.saturating_sub(store.free_bytes);
        ensure!(fell == 32 * MIB && gained < MIB, "{name}: fell by {fell}, the filesystem gained {gained}");
        // The rest of it tells why.
        ensure!(HostStorage.shares_extents(&guest).await == Some(true), "{name}");
        // With the clone the room comes back.
        fs::remove_file(&clone)?;
        let mut gained = 0;
        // XFS gives back what a deleted file had in the background.
        for _ in 0..100 {
            HostStorage.settle(&guest).await?;
            gained = datastore(&guest).await?.free_bytes.saturating_sub(store.free_bytes);
            if gained >= 31 * MIB {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        ensure!(gained >= 31 * MIB, "{name}: without the clone it gained {gained}");
    }
    Ok(())
}

#[tokio::test]
async fn an_image_with_all_of_its_room() -> Result<()> {
    for filesystem in Filesystem::ALL {
        let disk = LoopDisk::mount(filesystem, 512 * MIB)?;
        let path = disk.path().join("guest.img");
        run("fallocate", &["-l", "128M"], &path)?;
        let found = HostStorage.allocation(&image(&path)).await?;
        ensure!(taken(&found)? >= 128 * MIB && found.length_bytes == 128 * MIB, "{filesystem:?}: {found:?}");
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
    ensure!(datastore(&one).await?.id == datastore(&other).await?.id);
    Ok(())
}

#[tokio::test]
async fn a_volume_that_owns_its_blocks_is_not_measured() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 64 * MIB)?;
    let volume = image(Path::new(disk.device()));
    let found = HostStorage.allocation(&volume).await?;
    ensure!(found.is_block_device && found.allocated_bytes.is_none(), "{found:?}");
    let place = HostStorage.place(&volume).await?;
    let name = disk.device().trim_start_matches("/dev/").to_owned();
    ensure!(place.volume == Some(Volume::Thick { kind: "loop device", name }), "{place:?}");
    ensure!(place.datastore.is_none() && HostStorage.datastore(&volume).await?.is_none(), "{place:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_filesystem_does_with_its_images() -> Result<()> {
    let xfs = LoopDisk::mount(Filesystem::Xfs, 512 * MIB)?;
    let (plain, hinted) = (xfs.path().join("plain.img"), xfs.path().join("hinted.img"));
    for path in [&plain, &hinted] {
        fs::write(path, [])?;
    }
    run("xfs_io", &["-c", "extsize 1m"], &hinted)?;
    for (path, expected) in [(&plain, None), (&hinted, Some(MIB))] {
        let place = HostStorage.place(&image(path)).await?;
        ensure!(place.extent_size_hint_bytes == expected && !place.is_compressed, "{place:?}");
    }

    for (options, attribute, expected) in [
        ("defaults", "", false),
        ("compress=zstd", "", true),
        ("compress=zstd", "+C", false),
        ("defaults", "+c", true),
    ] {
        let btrfs = LoopDisk::mount_with(Filesystem::Btrfs, 512 * MIB, options)?;
        let path = btrfs.path().join("guest.img");
        fs::write(&path, [])?;
        if !attribute.is_empty() {
            run("chattr", &[attribute], &path)?;
        }
        let place = HostStorage.place(&image(&path)).await?;
        ensure!(place.is_compressed == expected, "{options} {attribute}: {place:?}");
        // The device of a btrfs is not the one that its files say they lie on.
        let name = btrfs.device().trim_start_matches("/dev/").to_owned();
        let underneath = place.datastore.context("datastore")?.underneath;
        ensure!(
            matches!(&underneath, Underneath::Disk { name: found, discards: true, .. } if *found == name),
            "{underneath:?}"
        );
    }
    Ok(())
}
