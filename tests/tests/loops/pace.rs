//! Each pace gives back what one whole FITRIM does, and no less: by the image's allocated blocks, on real filesystems.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::MIB;
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};
use trimtab_tests::programs;

use crate::rig::run;

/// Four allocation groups of XFS, four block groups of ext4.
const SIZE: u64 = 512 * MIB;

/// A filesystem with its files in pieces, every second one deleted; and an image without a hole.
fn full(filesystem: Filesystem) -> Result<LoopDisk> {
    let mut disk = LoopDisk::mount(filesystem, SIZE)?;
    let folder = disk.path().join("files");
    fs::create_dir(&folder)?;
    for n in 0..300 {
        let path = folder.join(n.to_string());
        // Not in whole MiB, so that cuts go through what is free.
        fs::write(path, vec![0x5a; 600 << 10])?;
    }
    run("sync", &["-f", &text(&disk)])?;
    for n in (0..300).step_by(2) {
        fs::remove_file(folder.join(n.to_string()))?;
    }
    disk.unmount()?;
    run("fallocate", &["-l", &SIZE.to_string(), &disk.image().display().to_string()])?;
    disk.mount_again()?;
    Ok(disk)
}

fn text(disk: &LoopDisk) -> String {
    disk.path().display().to_string()
}

/// What the image loses by a trim; newer XFS has discards in flight when that returns.
fn freed(disk: &LoopDisk, trim: impl FnOnce() -> Result<()>) -> Result<u64> {
    let before = disk.allocated_bytes()?;
    trim()?;
    let (begin, mut last, mut since) = (Instant::now(), disk.allocated_bytes()?, Instant::now());
    while since.elapsed() < Duration::from_secs(1) && begin.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(50));
        let now = disk.allocated_bytes()?;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(before.saturating_sub(last))
}

fn agent(disk: &LoopDisk, pace: &str, more: &[&str]) -> Result<Value> {
    let runs = disk.image().with_file_name("run");
    let mut command = Command::new(programs::agent()?);
    command.arg("--run-dir").arg(runs).args(["trim", "--json", "--pace", pace]).args(more).arg(disk.path());
    let out = command.output().context("cannot start the agent")?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(serde_json::from_slice(&out.stdout)?)
}

/// Btrfs's cleaner takes block groups away that became empty, in its own time. One that it has in hand at the moment of a trim,
/// whoever's, is neither a block group nor unallocated to it; the next trim finds its space.
fn attempts(filesystem: Filesystem) -> usize {
    if filesystem == Filesystem::Btrfs { 3 } else { 1 }
}

#[test]
fn each_pace_frees_what_one_fitrim_does() -> Result<()> {
    for filesystem in Filesystem::ALL {
        let disk = full(filesystem)?;
        let whole = freed(&disk, || run("fstrim", &[&text(&disk)]))?;
        assert!(whole > 200 * MIB, "{filesystem:?}: {whole}");
        let least = whole / 100 * 99;
        for pace in ["full", "steady", "gentle"] {
            let mut ours = 0;
            for _ in 0..attempts(filesystem) {
                if ours < least {
                    let disk = full(filesystem)?;
                    ours = freed(&disk, || agent(&disk, pace, &[]).map(drop))?;
                }
            }
            assert!(ours >= least, "{filesystem:?} {pace}: {ours} of {whole}");
        }
    }
    Ok(())
}

/// The same with a smallest extent, which a cut must not make smaller; and nothing below it is touched.
#[test]
fn a_smallest_extent_loses_nothing_to_cuts() -> Result<()> {
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs] {
        let disk = full(filesystem)?;
        let whole = freed(&disk, || run("fstrim", &["-m", "524288", &text(&disk)]))?;
        let disk = full(filesystem)?;
        let ours = freed(&disk, || agent(&disk, "gentle", &["--min-extent", "512K"]).map(drop))?;
        assert!(ours >= whole / 100 * 99, "{filesystem:?}: {ours} of {whole}");
        let disk = full(filesystem)?;
        let large = freed(&disk, || agent(&disk, "gentle", &["--min-extent", "2M"]).map(drop))?;
        assert!(large + 80 * MIB < ours, "{filesystem:?}: the pieces of 600 KiB stay: {large}, {ours}");
    }
    Ok(())
}

/// fstrim.timer asks for no smallest extent, a host for that of its image: ext4 looks at every group again whenever the one
/// asked for is below the one before, and so both in turns trim all of it each time. Where they agree it does not.
#[test]
fn another_smallest_extent_makes_ext4_look_again() -> Result<()> {
    let disk = full(Filesystem::Ext4)?;
    let claimed = |min_extent: &str| -> Result<u64> {
        let document = agent(&disk, "steady", &["--min-extent", min_extent])?;
        let filesystems = document["filesystems"].as_array().context("no filesystems")?;
        let ours = filesystems.iter().find(|run| run["skipped"].is_null()).context("none had its turn")?;
        ours["claimed_bytes"].as_u64().context("nothing claimed")
    };
    let first = claimed("64K")?;
    assert!(first > 200 * MIB, "{first}");
    assert_eq!(claimed("64K")?, 0, "the same again");
    let sectors = || -> Result<u64> {
        let stat = fs::read_to_string(disk.device().replace("/dev", "/sys/block") + "/stat")?;
        Ok(stat.split_ascii_whitespace().nth(13).context("no discard counter")?.parse()?)
    };
    for round in 0..2 {
        let before = sectors()?;
        run("fstrim", &[&text(&disk)])?;
        assert!((sectors()? - before) * 512 >= first, "{round}: fstrim trims all of it again");
        assert_eq!(claimed("64K")?, 0, "{round}: and remembers more than this asks for");
    }
    Ok(())
}
