//! The probe of one disk: the guest writes a small file, the host looks at the image, the guest gives the file up and
//! trims where it lay, the host looks again. See docs/development/probe.md.
//!
//! ```text
//! choose ──> before ──> order ──> WRITTEN ──> between, again and again ──> TRIMMED ──> settle ──> after ──> judge
//!    └ no filesystem, a guard, a veto, any trouble: not proven either way, and the reason is said
//! ```

mod choose;
mod judge;

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::judge::Evidence;
use crate::{
    layers::Layer,
    ledger::account::Reading,
    model::{
        image::Image,
        probe::{ProbeEvent, ProbeOrder, ProbeTrimmed, ProbeWritten},
        run::Sent,
        trouble::{Kind, Trouble},
    },
    trim::{
        call::stopped_since,
        look::{DiskLook, Look, Parts, allocation, counters_of},
        ports::{Guest, ProbeStream, Storage, Vmm},
        settle::{self, Patience, Settling},
    },
};

/// How large a file.
pub const BYTES: u64 = 16 << 20;

/// The agent gives up after this.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long the file stays where the host's account of an image is right at once.
const PAUSE: Duration = Duration::from_millis(1000);

/// And where it lags: ZFS writes a transaction group every 5 s, NFS keeps attributes for 3 s.
const LONG_PAUSE: Duration = Duration::from_secs(8);

/// What came of the probe of one disk.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Probe {
    /// The whole way is open, or it is not; `None` where that cannot be told.
    pub proven: Option<bool>,
    /// The layer where the discards ended, where they did and that is known.
    pub ended_at: Option<Layer>,
    /// One sentence. May hold a guest's text: escape it where it is shown.
    pub text: String,
    /// What to do next, where something failed.
    pub hint: Option<String>,
    /// The mount point that was probed, the guest's text; `None` where nothing was written.
    pub mount: Option<String>,
    /// What FITRIM was asked to cover.
    pub range_bytes: Option<u64>,
    /// The filesystem trims more than that: btrfs all that is not allocated.
    pub trimmed_more: bool,
    /// What the guest's disk discarded.
    pub sent_bytes: Option<u64>,
    /// What QEMU passed to the image.
    pub arrived_bytes: Option<u64>,
    /// What the image fell by; growth is negative.
    pub fell_bytes: Option<i64>,
}

impl Probe {
    fn not_done(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn failed(self, trouble: Trouble) -> Self {
        Self { proven: None, ended_at: None, text: trouble.text, hint: trouble.hint, ..self }
    }
}

/// Probes a disk that was looked at. `anyway` names guards that do not count.
pub async fn probe<G: Guest, V: Vmm, S: Storage>(
    parts: &Parts<'_, G, V, S>,
    look: &Look,
    disk: &DiskLook,
    anyway: &[Layer],
) -> Probe {
    let (survey, filesystem) = match choose::choose(look, disk, anyway) {
        Ok(chosen) => chosen,
        Err(why) => return Probe::not_done(why),
    };
    let Some(image) = &disk.host.image else { return Probe::not_done("its image is not on this host") };
    let patience = Patience::of(disk.datastore().map(|store| store.fs_type.as_str()));
    let order = ProbeOrder {
        filesystem_id: filesystem.id.clone(),
        boot_id: survey.agent.boot_id.clone(),
        bytes: BYTES,
        pause: pause(patience),
        deadline: DEADLINE,
    };
    let eye = Eye { parts, disk, image, patience };
    let begun = Probe { mount: Some(filesystem.mount.clone()), ..Probe::default() };
    let seen = match eye.watch(&order).await {
        Ok(seen) => seen,
        // A guest that QEMU stopped on an I/O error outranks whatever else went wrong.
        Err(trouble) => return begun.failed(stopped_since(parts.vmm).await.unwrap_or(trouble)),
    };
    if let Some(stopped) = stopped_since(parts.vmm).await {
        return begun.failed(stopped);
    }
    let of_disk = |sent: &[Sent]| {
        let device = look.guest_disk(disk)?;
        sent.iter().find(|sent| sent.device_id == device.id).cloned()
    };
    let sent = of_disk(&seen.trimmed.sent);
    let findings = look.findings(disk);
    let evidence = Evidence {
        bytes: seen.written.bytes,
        extents: &seen.written.extents,
        // A count that did not stand still says how much at least.
        sent_bytes: sent
            .as_ref()
            .and_then(|sent| sent.discarded_bytes)
            .filter(|n| seen.trimmed.settled || *n > 0),
        written_bytes: sent.as_ref().and_then(|sent| sent.written_bytes),
        before: seen.before,
        between: seen.between,
        after: seen.after,
        findings: &findings,
        format: &image.format,
        cluster_bytes: disk.image.as_ref().and_then(|facts| Some(facts.header.as_ref()?.cluster_bytes)),
        is_remote: disk.datastore().is_some_and(|store| store.fs_type.starts_with("nfs")),
    };
    let ruling = judge::judge(&evidence);
    Probe {
        proven: ruling.proven,
        ended_at: ruling.ended_at,
        text: ruling.text,
        range_bytes: Some(seen.trimmed.range_bytes),
        trimmed_more: seen.trimmed.beyond_range,
        sent_bytes: evidence.sent_bytes,
        arrived_bytes: evidence.arrived_bytes(),
        fell_bytes: evidence.fell_bytes(),
        ..begun
    }
}

/// As long as the host's account may need to stand still.
fn pause(patience: Patience) -> Duration {
    let still = settle::INTERVAL.saturating_mul(patience.same_readings);
    if still < PAUSE { PAUSE } else { LONG_PAUSE }
}

/// What was seen of a probe.
struct Seen {
    before: Reading,
    between: Option<Reading>,
    after: Reading,
    written: ProbeWritten,
    trimmed: ProbeTrimmed,
}

/// Looks at one disk's image and counters.
struct Eye<'a, G, V, S> {
    parts: &'a Parts<'a, G, V, S>,
    disk: &'a DiskLook,
    image: &'a Image,
    patience: Patience,
}

impl<G: Guest, V: Vmm, S: Storage> Eye<'_, G, V, S> {
    /// The probe from its order to its end, and what the host saw at its three moments.
    async fn watch(&self, order: &ProbeOrder) -> Result<Seen, Trouble> {
        self.settle().await;
        let before = self.read().await?;
        // The request comes in after this moment, so whatever the guest times from its coming in is over no earlier
        // here than it says.
        let sent_at = Instant::now();
        let mut events = self.parts.guest.probe(order).await?;
        let written = match next(&mut events).await? {
            ProbeEvent::Written(written) => written,
            ProbeEvent::Failed(failure) => return Err(could_not(&failure.text)),
            ProbeEvent::Trimmed(_) => return Err(out_of_order()),
        };
        let mut looks: Vec<(Duration, Reading)> = Vec::new();
        let end = loop {
            let reading = self.read().await?;
            looks.push((sent_at.elapsed(), reading));
            if let Ok(event) = timeout(settle::INTERVAL, next(&mut events)).await {
                break event?;
            }
        };
        let trimmed = match end {
            ProbeEvent::Trimmed(trimmed) => trimmed,
            ProbeEvent::Failed(failure) => return Err(could_not(&failure.text)),
            ProbeEvent::Written(_) => return Err(out_of_order()),
        };
        let between =
            looks.iter().rev().find(|(done, _)| *done <= trimmed.given_up).map(|(_, reading)| *reading);
        let after = self.settled().await?;
        Ok(Seen { before, between, after, written, trimmed })
    }

    async fn settle(&self) {
        // Best effort: what cannot be settled shows in the reading.
        let _ = self.parts.storage.settle(self.image).await;
    }

    /// The reading when it stands still.
    async fn settled(&self) -> Result<Reading, Trouble> {
        self.settle().await;
        let began = Instant::now();
        let mut settling = Settling::new(self.patience);
        let mut has_committed = !self.patience.commits;
        loop {
            let reading = self.read().await?;
            let stands_still = settling.observe(&[reading]);
            if (stands_still && has_committed) || began.elapsed() >= self.patience.at_most {
                return Ok(reading);
            }
            if stands_still {
                // What came free since the first commit shows after another one.
                self.settle().await;
                has_committed = true;
            } else {
                sleep(settle::INTERVAL).await;
            }
        }
    }

    async fn read(&self) -> Result<Reading, Trouble> {
        // Without counters the allocation alone decides.
        let counters = self.parts.vmm.counters().await.unwrap_or_default();
        let header = self.disk.image.as_ref().and_then(|facts| facts.header.as_ref());
        let now = allocation(self.parts.storage, self.image, &self.disk.host, header).await?;
        let known = self.disk.image.as_ref().map(|facts| facts.allocation.file);
        if known.is_some_and(|file| file != now.file) {
            let text = format!("{} is another file now than before the probe", self.image.path.display());
            return Err(Trouble::new(Kind::Image, text));
        }
        Ok(Reading {
            allocated_bytes: now.allocated_bytes,
            counters: counters_of(&counters, &self.disk.host.device),
        })
    }
}

async fn next(events: &mut impl ProbeStream) -> Result<ProbeEvent, Trouble> {
    events.next().await.unwrap_or_else(|| Err(out_of_order()))
}

fn could_not(text: &str) -> Trouble {
    Trouble::new(Kind::AgentRefused, format!("the guest could not probe: {text}"))
}

fn out_of_order() -> Trouble {
    Trouble::new(Kind::Internal, "a probe's events came out of order")
}

#[cfg(test)]
mod tests;
