//! The real `trimtab worker` while its store's filesystem is full: what runs goes on to its end, nothing more is begun, and
//! when there is room again each byte is counted once, also after that worker has died.

use std::{fs, path::Path, time::Duration};

use anyhow::{Result, ensure};
use nix::fcntl::FallocateFlags;
use trimtab_controller::campaign::{
    account::CampaignState,
    store::{Store, sqlite::SqliteStore},
};
use trimtab_tests::{
    MIB,
    loop_disk::{Filesystem, LoopDisk},
    sim::killing::Rig,
};

use crate::store::fill;

/// Ten pieces of a trim take two seconds.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes nearly all room at once: block by block takes long beside other builds.
fn take_most(path: &Path) -> Result<()> {
    let file = fs::File::create(path)?;
    let free = nix::sys::statvfs::fstatvfs(&file)?;
    let bytes = (free.blocks_available() * free.fragment_size()).saturating_sub(128 << 10);
    nix::fcntl::fallocate(&file, FallocateFlags::empty(), 0, i64::try_from(bytes.max(4096))?)?;
    Ok(())
}

/// Waits until no guest trims any more, and sees whether another one begins.
async fn comes_to_rest(rig: &Rig) -> Result<()> {
    while rig.trimming() > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ensure!(rig.trimming() == 0, "a run is begun that nobody has written down:\n{}", rig.said());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_filesystem_below_the_store_holds_a_worker_up_and_loses_nothing() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 8 * MIB)?;
    let rig = Rig::with_pause(14, PAUSE)?.stored_at(disk.path().join("trimtab.db"));
    let store = SqliteStore::open(&rig.store()).await?;
    let id = store.apply(&rig.campaign()).await?;
    let mut worker = rig.start()?;
    for dies in [false, true] {
        rig.until(&store, id, |status| status.running.len() == 4).await?;
        let (bulk, filler) = (disk.path().join("bulk"), disk.path().join("filler"));
        take_most(&bulk)?;
        fill(&filler)?;
        comes_to_rest(&rig).await?;
        let said = rig.said();
        ensure!(said.rfind("its filesystem is full") > said.rfind("the store answers again"), "{said}");
        let status = store.status(id).await?.summary;
        ensure!(status.freed_bytes < rig.lost_bytes()?, "what cannot be written is not counted: {status:?}");
        ensure!(status.state == CampaignState::Active && status.running > 0, "{status:?}\n{said}");
        if dies {
            drop(worker);
            worker = rig.start()?;
            comes_to_rest(&rig).await?;
        }
        fs::remove_file(&filler)?;
        fs::remove_file(&bulk)?;
    }
    rig.until(&store, id, |status| status.summary.state == CampaignState::Done).await?;
    ensure!(rig.said().contains("the store answers again"), "{}", rig.said());
    rig.check(&store, id).await?;
    rig.check_caps()?;
    ensure!(worker.leave()? == 0, "{}", rig.said());
    Ok(())
}
