//! The agent's survey of real filesystems, checked against what the system's own tools say of them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use trimtab_agent::kernel::fsmap::CLASSES;
use trimtab_agent::model::{Filesystem as Found, FreeExtents, Survey};
use trimtab_agent::select::Policy;
use trimtab_agent::sys::{LiveFreeSpace, Roots, survey};
use trimtab_controller::guest::check;
use trimtab_proto::v1;
use trimtab_proto::words::{DeviceKind, DeviceUse, SkipReason};
use trimtab_tests::MIB;
use trimtab_tests::keeper::Keeper;
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};

fn run(script: &str) -> Result<String> {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let done = Command::new("sh").args(["-euc", script]).env("PATH", path).output().context("sh")?;
    ensure!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?)
}

fn look() -> Result<Survey> {
    Ok(survey(&Roots::system(), &Policy::default(), &LiveFreeSpace::default())?)
}

/// What the survey has of the filesystem on `disk`, and how often.
fn found<'a>(survey: &'a Survey, disk: &LoopDisk) -> Result<&'a Found> {
    let name = disk.device().trim_start_matches("/dev/");
    let device = survey.devices.iter().find(|d| d.name == name).with_context(|| format!("no {name}"))?;
    ensure!((device.kind, device.used_for) == (DeviceKind::Loop, DeviceUse::Mounted), "{device:?}");
    let mut of_it = survey.filesystems.iter().filter(|fs| fs.device == Some(device.id));
    let fs = of_it.next().with_context(|| format!("nothing on {name}"))?;
    ensure!(of_it.next().is_none(), "{name} is counted twice");
    Ok(fs)
}

/// Free extents by xfs_io's own reading of the same ioctl, in sectors: "… : free space …" with [start..end].
fn xfs_io_says(mount: &Path) -> Result<Vec<FreeExtents>> {
    let text = run(&format!("xfs_io -r -c fsmap '{}'", mount.display()))?;
    let mut extents: Vec<(u64, u64)> = Vec::new();
    for line in text.lines().filter(|line| line.contains("free space")) {
        // "	3: 7:0 [1048..65535]: free space                    64488"
        let range = line.split(['[', ']']).nth(1).context("no range")?;
        let (start, end) = range.split_once("..").context("no end")?;
        let (start, end) = (start.trim().parse::<u64>()?, end.trim().parse::<u64>()?.saturating_add(1));
        match extents.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => extents.push((start, end)),
        }
    }
    let lengths: Vec<u64> =
        extents.iter().map(|(start, end)| end.saturating_sub(*start).saturating_mul(512)).collect();
    let sum = |least: u64| lengths.iter().filter(|length| **length >= least).sum();
    Ok(CLASSES.into_iter().map(|at_least| FreeExtents { at_least, bytes: sum(at_least) }).collect())
}

#[test]
fn free_space_is_what_the_tools_say() -> Result<()> {
    for kind in Filesystem::ALL {
        let disk = LoopDisk::mount(kind, 512 * MIB)?;
        // Holes of 4 KiB to some MiB.
        for (number, kib) in [4, 8, 60, 64, 300, 1024, 3000, 5000].into_iter().cycle().take(64).enumerate() {
            fs::write(disk.path().join(number.to_string()), vec![0x5a; kib * 1024])?;
        }
        run(&format!(
            "sync -f '{0}'; rm '{0}'/*[02468]; sync -f '{0}'; stat -f '{0}'",
            disk.path().display()
        ))?;
        let survey = look()?;
        let fs = found(&survey, &disk)?;
        assert_eq!((fs.skip.as_ref(), fs.fs_type.as_str(), fs.mounts), (None, kind.as_str(), 1));
        assert_eq!((fs.mount.as_path(), fs.size), (disk.path().as_path(), Some(512 * MIB)));

        let df = run(&format!("stat -f -c '%S %b %f' '{}'", disk.path().display()))?;
        let numbers: Vec<u64> = df.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [block, blocks, free] = numbers[..] else { anyhow::bail!("stat -f: {df}") };
        assert_eq!((fs.used, fs.free), (Some((blocks - free) * block), Some(free * block)), "{kind:?}");
        if kind == Filesystem::Btrfs {
            assert_eq!(fs.free_extents, [], "btrfs has no such map");
            continue;
        }
        assert_eq!(fs.free_extents, xfs_io_says(&disk.path())?, "{kind:?}");
        let mapped = fs.free_extents[0].bytes;
        // statfs of XFS leaves out up to 8192 blocks that it keeps for itself, and the roots of its free space trees.
        assert!(mapped.abs_diff(free * block) < 40 * MIB, "{kind:?}: {mapped} of {} free", free * block);
        assert!(fs.free_extents[4].bytes < mapped, "{kind:?}: the holes are small");
    }
    Ok(())
}

#[test]
fn a_bind_mount_and_a_subvolume_are_counted_once() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Btrfs, 256 * MIB)?;
    let mount = disk.path().display().to_string();
    run(&format!(
        "cd '{mount}'; btrfs -q subvolume create sub; mkdir bind at; : >file; : >other
         mount --bind sub bind; mount -o subvol=sub '{}' at; mount --bind file other",
        disk.device()
    ))?;
    let survey = look()?;
    let fs = found(&survey, &disk)?;
    assert_eq!((fs.mounts, fs.skip.as_ref(), fs.mount.as_path()), (4, None, disk.path().as_path()));
    assert_eq!(fs.id.major, 0, "btrfs has a number of its own");
    Ok(())
}

#[test]
fn what_is_left_out_and_why() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 64 * MIB)?;
    let mount = disk.path().display().to_string();
    let reason = || -> Result<Option<SkipReason>> {
        let survey = look()?;
        Ok(found(&survey, &disk)?.skip.as_ref().map(|skip| skip.reason))
    };
    run(&format!(
        "mkdir '{mount}/bind'; mount --bind '{mount}' '{mount}/bind'; mount -o remount,bind,ro '{mount}'"
    ))?;
    assert_eq!(reason()?, None, "the superblock is writable through another mount");
    run(&format!("umount '{mount}/bind'; mount -o remount,ro '{mount}'"))?;
    assert_eq!(reason()?, Some(SkipReason::ReadOnly));
    run(&format!("mount -o remount,rw '{mount}'; : >'{mount}/file'; : >'{mount}/over'"))?;

    let _uncover = Keeper::clean_up(&format!("umount '{mount}'"))?;
    run(&format!("mount -t tmpfs none '{mount}'"))?;
    assert_eq!(reason()?, Some(SkipReason::OverMounted));
    Ok(())
}

#[test]
fn only_a_file_of_it_is_mounted() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 64 * MIB)?;
    let mount = disk.path().display().to_string();
    let elsewhere = tempfile::NamedTempFile::new_in("/var/tmp")?;
    let other = elsewhere.path().display().to_string();
    let _unbind = Keeper::clean_up(&format!("umount '{other}'"))?;
    run(&format!(
        "echo x >'{mount}/file'; mount --bind '{mount}/file' '{other}'; mount -t tmpfs none '{mount}'"
    ))?;
    let _uncover = Keeper::clean_up(&format!("umount '{mount}'"))?;
    let survey = look()?;
    let fs = found(&survey, &disk)?;
    assert_eq!(fs.skip.as_ref().map(|skip| skip.reason), Some(SkipReason::OverMounted));
    assert_eq!((fs.used, fs.free_extents.len()), (None, 0), "it was not touched");
    Ok(())
}

#[test]
fn a_filesystem_in_a_file_on_a_loop_disk() -> Result<()> {
    let outer = LoopDisk::mount(Filesystem::Ext4, 256 * MIB)?;
    let mount = outer.path().display().to_string();
    let _inner = Keeper::clean_up(&format!("umount '{mount}/mnt'"))?;
    run(&format!(
        "cd '{mount}'; truncate -s 64M image; mke2fs -q -F -t ext4 image; mkdir mnt; mount -o loop image mnt"
    ))?;
    let survey = look()?;
    let around = found(&survey, &outer)?;
    let inner =
        survey.filesystems.iter().find(|fs| fs.mount == outer.path().join("mnt")).context("no inner")?;
    assert!(inner.inside.contains(&around.id), "the inner one is trimmed first");
    assert_eq!(inner.leaves, around.leaves, "both end on the same disk");
    Ok(())
}

#[test]
fn the_controller_takes_what_the_agent_says() -> Result<()> {
    let _disks: Vec<LoopDisk> =
        Filesystem::ALL.into_iter().map(|kind| LoopDisk::mount(kind, 512 * MIB)).collect::<Result<_>>()?;
    let survey = look()?;
    let agent = v1::HelloReply {
        agent_version: "0.1.0".to_owned(),
        kernel: "6.12.0".to_owned(),
        boot_id: "boot".to_owned(),
        features: vec![],
        policy: Some(v1::Policy::default()),
    };
    let taken = check::survey(trimtab_agent::wire::survey::reply(agent, &survey))?;
    assert_eq!((taken.filesystems.len(), taken.not_listed), (survey.filesystems.len(), 0));
    assert_eq!(taken.devices.len(), survey.devices.len());
    Ok(())
}
