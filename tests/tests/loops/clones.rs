//! An image that shrinks and gives its datastore nothing: a clone of the host shares what came free. A real guest, on
//! host filesystems with reflinks.

use anyhow::{Context, Result, ensure};
use trimtab_tests::MIB;
use trimtab_tests::guest::{DiskSpec, Guest, GuestSpec};
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};
use trimtab_tests::trimtab::Trimtab;
use trimtab_tests::walk::{DELETED_MIB, Kind, Walk, freed, ruling};

use crate::common::checked;
use crate::rig::run;

fn free_bytes(datastore: &LoopDisk) -> Result<u64> {
    run("sync", &["-f", &datastore.path().display().to_string()])?;
    let found = nix::sys::statvfs::statvfs(&datastore.path())?;
    Ok(found.blocks_free() * found.fragment_size())
}

#[test]
fn what_a_clone_shares_is_held_on_the_host_until_the_clone_goes() -> Result<()> {
    let stores = [Filesystem::Xfs, Filesystem::Btrfs].map(|filesystem| {
        Ok::<_, anyhow::Error>((filesystem.as_str(), LoopDisk::mount(filesystem, 1024 * MIB)?))
    });
    let guest = Guest::boot(GuestSpec::new("clones"))?;
    guest.start_agent("")?;
    for store in stores {
        let (name, store) = store?;
        let image = store.path().join(format!("{name}.raw"));
        std::fs::File::create(&image)?.set_len(512 * MIB)?;
        let walk = Walk::add(&guest, Kind::Ext4, DiskSpec::new(name, 512 * MIB).image(&image))?;
        walk.keep_files()?;
        walk.write_and_delete(DELETED_MIB)?;
        let clone = store.path().join("clone.raw");
        let (from, to) = (image.to_str().context("image")?, clone.to_str().context("clone")?);
        run("cp", &["--reflink=always", from, to])?;
        let before = free_bytes(&store)?;

        let disk = walk.disk.device.trim_start_matches("/dev/");
        let document = checked(&Trimtab::of(&guest)?.trim(&["clones", "--disk", disk])?)?;

        let said = document.disk(&walk.disk)?;
        ensure!(ruling(said) == "held_on_host by rule 3", "{name}: {said:#}");
        ensure!(freed(said)? >= DELETED_MIB * MIB / 100 * 95, "{name}: {said:#}");
        ensure!(free_bytes(&store)?.saturating_sub(before) < 8 * MIB, "{name}: the datastore gained");
        let doctor = Trimtab::of(&guest)?.doctor(&["clones"])?.document()?;
        let told = doctor.disk(&walk.disk)?["findings"].to_string();
        ensure!(told.contains("shared with a clone or snapshot"), "{name}: {told}");

        std::fs::remove_file(&clone)?;
        let mut gained = 0;
        for _ in 0..100 {
            gained = free_bytes(&store)?.saturating_sub(before);
            if gained >= DELETED_MIB * MIB / 100 * 90 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        ensure!(gained >= DELETED_MIB * MIB / 100 * 90, "{name}: without the clone it gained {gained}");
        walk.unmount_and_check()?;
        guest.remove_disk(&walk.disk)?;
    }
    Ok(())
}
