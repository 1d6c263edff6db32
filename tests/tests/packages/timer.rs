//! trimtab-trim.timer beside the distribution's fstrim.timer: off, until the administrator says otherwise; and never do
//! both trim.

use std::time::Duration;

use anyhow::{Result, ensure};
use trimtab_tests::MIB;
use trimtab_tests::guest::Guest;

use crate::debian::{self, allocated, fill_and_delete, show, wait_for};

const OURS: &str = "trimtab-trim";
const THEIRS: &str = "fstrim";

#[test]
fn it_is_off_and_takes_the_place_of_fstrim_timer_when_it_is_enabled() -> Result<()> {
    let guest = debian::lease()?;
    ensure!(show(&guest, "trimtab-trim.timer", "ActiveState")? == "inactive");
    ensure!(guest.sh("systemctl is-enabled trimtab-trim.timer || true")?.trim() == "disabled");
    ensure!(show(&guest, "fstrim.timer", "ActiveState")? == "active");
    fill_and_delete(&guest, &["/home"], 32)?;
    let full = allocated(&guest, &["home"])?[0];

    // As the timer's own comment says, and then a week passes.
    guest.sh("systemctl disable -q --now fstrim.timer; systemctl enable -q --now trimtab-trim.timer")?;
    let next = show(&guest, "trimtab-trim.timer", "NextElapseUSecRealtime")?;
    ensure!(!next.is_empty(), "it has no next time");
    guest.sh("mkdir -p /run/systemd/system/trimtab-trim.timer.d
         printf '[Timer]\nOnCalendar=\nOnActiveSec=1s\nAccuracySec=100ms\nRandomizedDelaySec=0\n' \
             >/run/systemd/system/trimtab-trim.timer.d/soon.conf
         systemctl daemon-reload; systemctl restart trimtab-trim.timer")?;
    let began = std::time::Instant::now();
    while full.saturating_sub(allocated(&guest, &["home"])?[0]) < 30 * MIB {
        let journal = debian::journal(&guest, "trimtab-trim.service")?;
        ensure!(began.elapsed() < Duration::from_secs(30), "the timer has not trimmed: {journal}");
        std::thread::sleep(Duration::from_millis(300));
    }
    wait_for(&guest, "trimtab-trim.service", "inactive", Duration::from_secs(10))?;

    // Whichever is started stops the other.
    guest.sh("systemctl start fstrim.timer")?;
    ensure!(show(&guest, "trimtab-trim.timer", "ActiveState")? == "inactive");
    guest.sh("systemctl start trimtab-trim.timer")?;
    ensure!(show(&guest, "fstrim.timer", "ActiveState")? == "inactive");
    guest
        .sh("systemctl disable -q --now trimtab-trim.timer; systemctl enable -q --now fstrim.timer")
        .map(drop)
}

/// A service whose program is at work until the test lets it go on.
fn held(guest: &Guest, service: &str) -> Result<()> {
    guest.sh(&format!(
        "mkdir -p /run/systemd/system/{service}.service.d
         printf '[Service]\nExecStart=\nExecStart=sleep 600\n' >/run/systemd/system/{service}.service.d/held.conf
         systemctl daemon-reload
         systemctl --no-block start {service}.service"
    ))?;
    wait_for(guest, &format!("{service}.service"), "activating", Duration::from_secs(10))?;
    Ok(())
}

#[test]
fn the_two_services_never_run_at_once() -> Result<()> {
    let guest = debian::lease()?;
    for (first, second) in [(THEIRS, OURS), (OURS, THEIRS)] {
        held(&guest, first)?;
        fill_and_delete(&guest, &["/home"], 32)?;
        let full = allocated(&guest, &["home"])?[0];
        // systemd forgets the times of a unit that is over, unless it stays.
        guest.sh(&format!(
            "mkdir -p /run/systemd/system/{second}.service.d
             printf '[Service]\\nRemainAfterExit=yes\\n' >/run/systemd/system/{second}.service.d/stays.conf
             systemctl daemon-reload
             systemctl start {second}.service"
        ))?;
        let time = |service: &str, which: &str| -> Result<u64> {
            Ok(show(&guest, &format!("{service}.service"), &format!("ExecMain{which}TimestampMonotonic"))?
                .parse()?)
        };
        let began = time(second, "Start")?;
        let ended = time(first, "Exit")?;
        ensure!(0 < ended && ended <= began, "{first} ended at {ended} us, {second} began at {began} us");
        let lost = full.saturating_sub(allocated(&guest, &["home"])?[0]);
        ensure!(lost >= 30 * MIB, "{second} after {first}: the image lost only {lost} bytes");
        guest.sh(&format!(
            "systemctl stop {second}.service; rm -r /run/systemd/system/*.service.d
             systemctl daemon-reload; systemctl reset-failed"
        ))?;
    }
    Ok(())
}
