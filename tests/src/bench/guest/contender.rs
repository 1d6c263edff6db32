//! Who trims: `fstrim` in the guest, qemu-ga as libvirt calls it, `trimtab` on the host at each pace.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench::{cpu, qemu_ga};
use crate::guest::Guest;
use crate::trimtab::Trimtab;

/// A trim in software emulation, on a busy machine.
const LIMIT: Duration = Duration::from_secs(1200);

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Contender {
    /// `fstrim -v`.
    Fstrim,
    /// `guest-fstrim`.
    QemuGa,
    /// `trimtab trim` at this pace.
    Trimtab(&'static str),
}

impl Contender {
    pub(super) const ALL: [Self; 5] =
        [Self::Fstrim, Self::QemuGa, Self::Trimtab("full"), Self::Trimtab("steady"), Self::Trimtab("gentle")];

    /// Its name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fstrim => "fstrim",
            Self::QemuGa => "guest-fstrim",
            Self::Trimtab(pace) => pace,
        }
    }
}

/// All of them, ready.
pub(super) struct Contenders<'a> {
    guest: &'a Guest,
    qemu_ga: qemu_ga::Agent,
    trimtab: Trimtab,
}

/// What a trim cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// From the command on the host to its answer.
    pub(super) took: Duration,
    /// Processor time of the guest's program and its children.
    pub(super) cpu: Duration,
}

impl<'a> Contenders<'a> {
    /// Starts both agents.
    pub(super) fn start(guest: &'a Guest) -> Result<Self> {
        let qemu_ga = qemu_ga::start(guest)?;
        guest.start_agent("")?;
        Ok(Self { guest, qemu_ga, trimtab: Trimtab::of(guest)? })
    }

    /// Has one of them trim these mount points, which are all that are mounted. In order, where it can.
    pub(super) fn trim(&mut self, contender: Contender, mounts: &[&str]) -> Result<Cost> {
        let began = Instant::now();
        match contender {
            Contender::Fstrim => {
                let trims: Vec<String> = mounts.iter().map(|mount| format!("fstrim -v {mount}")).collect();
                let script = format!("sh -euc '{} >&2; cat /proc/$$/stat'", trims.join("; "));
                let stat = self.guest.sh_within(&script, LIMIT)?;
                Ok(Cost { took: began.elapsed(), cpu: cpu::of_process(&stat)? })
            }
            Contender::QemuGa => self.of_daemon("/run/qemu-ga.pid", |all| {
                let trimmed = all.qemu_ga.call("guest-fstrim")?;
                let paths = trimmed["paths"].as_array().context("guest-fstrim names no paths")?;
                let done = |mount: &str| {
                    paths.iter().any(|path| path["path"] == *mount && path["trimmed"].as_u64() > Some(0))
                };
                if mounts.iter().all(|mount| done(mount)) { Ok(()) } else { bail!("guest-fstrim: {trimmed}") }
            }),
            Contender::Trimtab(pace) => self.of_daemon("/run/agent.pid", |all| all.trimtab(pace, mounts)),
        }
    }

    fn of_daemon(&mut self, pid_file: &str, work: impl FnOnce(&mut Self) -> Result<()>) -> Result<Cost> {
        let guest = self.guest;
        let cpu = || cpu::of_process(&guest.sh(&format!("cat /proc/$(cat {pid_file})/stat"))?);
        let before = cpu()?;
        let began = Instant::now();
        work(self)?;
        let took = began.elapsed();
        Ok(Cost { took, cpu: cpu()?.saturating_sub(before) })
    }

    fn trimtab(&self, pace: &str, mounts: &[&str]) -> Result<()> {
        // An image that is allocated as a whole is taken for one that is meant to be.
        let mut words = vec!["trim", "--quiet", "--pace", pace, "--anyway=preallocation", "--all"];
        words.extend(mounts.iter().flat_map(|mount| ["--mount", mount]));
        let command = self.trimtab.command(&words);
        // It ends with this program, whatever becomes of it.
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
        let done = bound.stdin(Stdio::null()).output().with_context(|| format!("cannot run {bound:?}"))?;
        let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        ensure!(
            done.status.success(),
            "trimtab trim: {}: {}{}",
            done.status,
            said(&done.stdout),
            said(&done.stderr)
        );
        Ok(())
    }
}
