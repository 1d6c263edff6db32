//! A Debian that has the agent's package: installed once, then copied for every guest; and what tests ask it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use trimtab_tests::guest::{Guest, GuestSpec, Lease, Pool, root_image};
use trimtab_tests::keeper::Keeper;

use crate::packages;

/// Where the deb lies in a guest.
pub(crate) const DEB: &str = "/root/trimtab-agent.deb";

/// A root on which the package was installed by dpkg while systemd ran.
#[derive(Debug)]
pub(crate) struct Installed {
    root: PathBuf,
    /// What dpkg said, then what systemd says of the units, before any reboot.
    pub(crate) said: String,
    _directory: Keeper,
}

/// The root, made on the first call of this process.
pub(crate) fn installed() -> Result<&'static Installed> {
    static INSTALLED: OnceLock<std::result::Result<Installed, String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| install().map_err(|error| format!("{error:#}")));
    installed.as_ref().map_err(|error| anyhow!("the package could not be installed: {error}"))
}

fn install() -> Result<Installed> {
    let directory = tempfile::Builder::new().prefix("trimtab-").tempdir_in("/var/tmp")?.keep();
    let keeper = Keeper::clean_up(&format!("rm -rf '{}'", directory.display()))?;
    let spec = GuestSpec::systemd("installs", &root_image()?).file(&packages::agent_deb()?, DEB);
    let guest = Guest::boot(spec)?;
    let said = guest.sh(&format!(
        "dpkg -i {DEB} 2>&1
         systemctl is-active trimtab-agent.socket || true
         systemctl is-active trimtab-agent.service || true
         systemctl is-enabled trimtab-agent.socket trimtab-trim.timer || true"
    ))?;
    let root = directory.join("root.raw");
    let image = guest.disk("root")?.image;
    guest.power_off()?;
    // Within one filesystem: both are in the directory for temporary images.
    std::fs::rename(&image, &root).or_else(|_| std::fs::copy(&image, &root).map(drop))?;
    Ok(Installed { root, said, _directory: keeper })
}

/// A guest to be, with the package.
pub(crate) fn spec(name: &str) -> Result<GuestSpec> {
    Ok(GuestSpec::systemd(name, &installed()?.root))
}

/// A guest with the package that tests share. The filesystem that fstab does not know is mounted.
pub(crate) fn lease() -> Result<Lease> {
    DEBIANS.lease()
}

static DEBIANS: Pool = Pool::new(boot, clean);

fn boot() -> Result<Guest> {
    let guest = Guest::boot(spec("debian")?)?;
    guest.mount_unlisted()?;
    guest.sh("cp /etc/trimtab/agent.toml /root/agent.toml")?;
    Ok(guest)
}

/// No configuration but the package's, nothing of ours that runs, no file on the filesystems that tests fill.
fn clean(guest: &Guest) -> Result<()> {
    guest.sh("systemctl stop trimtab-agent.service trimtab-trim.timer trimtab-trim.service fstrim.service
         systemctl disable -q trimtab-trim.timer
         rm -rf /etc/trimtab/agent.toml.d /run/trimtab /usr/lib/trimtab /run/trimtab-agent/*
         rm -rf /run/systemd/system/*.d /home/* /tmp/* /mnt/unlisted/*
         cp /root/agent.toml /etc/trimtab/agent.toml
         systemctl daemon-reload
         systemctl reset-failed
         systemctl start fstrim.timer trimtab-agent.socket")?;
    Ok(())
}

/// How many processes of the agent there are, workers included.
pub(crate) fn processes(guest: &Guest) -> Result<usize> {
    // Also one whose program was replaced meanwhile.
    let found = guest.sh("readlink /proc/[0-9]*/exe | grep /usr/bin/trimtab-agent || true")?;
    Ok(found.lines().count())
}

/// What `systemctl show` says of one property.
pub(crate) fn show(guest: &Guest, unit: &str, property: &str) -> Result<String> {
    Ok(guest.sh(&format!("systemctl show -P {property} {unit}"))?.trim().to_owned())
}

/// Waits until a unit is in this state.
pub(crate) fn wait_for(guest: &Guest, unit: &str, state: &str, limit: Duration) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let now = show(guest, unit, "ActiveState")?;
        if now == state {
            return Ok(began.elapsed());
        }
        if began.elapsed() > limit {
            let status = guest.sh(&format!("systemctl status {unit} || true"))?;
            ensure!(now == state, "{unit} is {now} and not {state} after {limit:?}\n{status}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The agent's lines in this boot's journal.
pub(crate) fn journal(guest: &Guest, unit: &str) -> Result<String> {
    guest.sh(&format!("journalctl -b -q -o cat -u {unit}"))
}

/// Writes and deletes a file of so many MiB below each directory, so that a trim has something to free.
pub(crate) fn fill_and_delete(guest: &Guest, directories: &[&str], mib: u64) -> Result<()> {
    for directory in directories {
        guest.write_noise(&format!("{directory}/goes"), mib)?;
    }
    let files: Vec<String> = directories.iter().map(|directory| format!("{directory}/goes")).collect();
    guest.sh(&format!("sync; rm {}; sync", files.join(" ")))?;
    Ok(())
}

/// What the images of these disks occupy.
pub(crate) fn allocated(guest: &Guest, disks: &[&str]) -> Result<Vec<u64>> {
    disks.iter().map(|disk| guest.disk(disk)?.allocated_bytes()).collect()
}
