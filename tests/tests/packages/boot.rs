//! The rig proves itself: a guest with systemd comes up whole, without any package of ours.

use anyhow::{Result, ensure};
use trimtab_tests::guest::{Guest, GuestSpec, root_image};

#[test]
fn a_debian_comes_up_with_nothing_failed_and_all_its_filesystems() -> Result<()> {
    let guest = Guest::boot(GuestSpec::systemd("debian", &root_image()?))?;
    guest.mount_unlisted()?;

    let state = guest.sh("systemctl is-system-running; systemctl --failed --no-legend")?;

    ensure!(state.trim() == "running", "{state}");
    for (mount, disk) in [("/", "root"), ("/home", "home"), ("/tmp", "tmp"), ("/mnt/unlisted", "unlisted")] {
        let source = guest.sh(&format!("findmnt -n -o SOURCE {mount}"))?;
        ensure!(source.trim() == guest.disk(disk)?.device, "{mount} is on {source}");
    }
    Ok(())
}
