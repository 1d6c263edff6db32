//! The loop disk proves itself with the system's own `fstrim`.

use std::process::Command;

use anyhow::{Context, Result};
use trimtab_tests::MIB;
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").status();
    anyhow::ensure!(status.with_context(|| program.to_owned())?.success(), "{program} {arguments:?} failed");
    Ok(())
}

#[test]
fn fstrim_frees_what_was_deleted() -> Result<()> {
    for filesystem in Filesystem::ALL {
        let disk = LoopDisk::mount(filesystem, 512 * MIB)?;
        let file = disk.path().join("file");
        std::fs::write(&file, vec![0x5a; 64 << 20])?;
        run("sync", &["-f", &file.display().to_string()])?;
        let full = disk.allocated_bytes()?;
        std::fs::remove_file(&file)?;
        run("sync", &["-f", &disk.path().display().to_string()])?;
        // XFS gives up a deleted file's blocks in the background, where a sync does not wait for it, and its discards are
        // in flight when fstrim returns: it is asked until it has found them.
        let freed = (0..50).find_map(|_| {
            let done =
                run("fstrim", &[&disk.path().display().to_string()]).and_then(|()| disk.allocated_bytes());
            let freed = done.map(|now| full.saturating_sub(now));
            std::thread::sleep(std::time::Duration::from_millis(100));
            freed.map_or_else(|error| Some(Err(error)), |freed| (freed >= 60 * MIB).then_some(Ok(freed)))
        });
        let freed = freed.transpose()?.unwrap_or(0);
        assert!(freed >= 60 * MIB, "{filesystem:?}: {freed}");
    }
    Ok(())
}

#[test]
fn nothing_is_left_of_a_dropped_disk() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 64 * MIB)?;
    let (mount, backing) =
        (disk.path(), format!("{}/loop/backing_file", disk.device().replace("/dev", "/sys/block")));
    assert!(std::path::Path::new(&backing).exists());
    drop(disk);
    assert!(!mount.exists());
    // The kernel lets go of the loop device after the last unmount, not within it.
    let gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        !std::path::Path::new(&backing).exists()
    });
    assert!(gone, "{backing} is still there");
    Ok(())
}
