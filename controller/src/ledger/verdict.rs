//! Evidence → verdict: the rules of docs/usage/verdicts.md in their order, the first that holds.
//!
//! A verdict follows from the ledger *and* the findings; the counters alone accuse the innocent (on qcow2 a healthy
//! second trim has arrived 0, on raw a trim over holes alone has arrived much and freed 0).

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::{
    layers::{Finding, Fix},
    model::image::Format,
};

/// What came of a trim of one disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Space came back.
    Reclaimed,
    /// Space came back, and something named still holds some.
    PartlyReclaimed,
    /// There was nothing to free.
    AlreadyCompact,
    /// The hypervisor drops what the guest sends.
    CutInVmm,
    /// Something in the guest drops it.
    CutInGuest,
    /// The host keeps the space.
    HeldOnHost,
    /// A guard said no.
    NotRun,
    /// A point of measurement is missing.
    NotMeasurable,
    /// A step failed.
    Failed,
}

impl Verdict {
    /// The word of JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reclaimed => "reclaimed",
            Self::PartlyReclaimed => "partly_reclaimed",
            Self::AlreadyCompact => "already_compact",
            Self::CutInVmm => "cut_in_vmm",
            Self::CutInGuest => "cut_in_guest",
            Self::HeldOnHost => "held_on_host",
            Self::NotRun => "not_run",
            Self::NotMeasurable => "not_measurable",
            Self::Failed => "failed",
        }
    }

    /// Where a layer cuts, by whose it is.
    fn of_a_cut(cut: &Finding) -> Self {
        match cut.layer {
            layer if layer.is_in_guest() => Self::CutInGuest,
            layer if layer.is_on_host() => Self::HeldOnHost,
            _ => Self::CutInVmm,
        }
    }

    /// Counts as good in the exit code.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Reclaimed | Self::PartlyReclaimed | Self::AlreadyCompact)
    }
}

/// A verdict with its reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ruling {
    /// What.
    pub verdict: Verdict,
    /// Which rule of docs/usage/verdicts.md: "5", "2a".
    pub rule: &'static str,
    /// Why, in a sentence. May hold a guest's text.
    pub because: String,
    /// What to do.
    pub fix: Option<Fix>,
    /// It leans on what the guest said of itself.
    pub on_guests_word: bool,
}

impl Ruling {
    fn new(verdict: Verdict, rule: &'static str, because: impl Into<String>) -> Self {
        Self { verdict, rule, because: because.into(), fix: None, on_guests_word: false }
    }

    fn of(verdict: Verdict, rule: &'static str, finding: &Finding) -> Self {
        let because = format!("{}: {}", finding.layer.as_str(), finding.text);
        Self { fix: finding.fix.clone(), ..Self::new(verdict, rule, because) }
    }

    fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix = Some(Fix::new(text));
        self
    }

    fn on_guests_word(mut self) -> Self {
        self.on_guests_word = true;
        self
    }
}

/// Judges one disk.
pub fn judge(evidence: &Evidence<'_>) -> Ruling {
    not_trimmed(evidence)
        .or_else(|| freed(evidence))
        .or_else(|| refused_by_host(evidence))
        .or_else(|| nothing_sent(evidence))
        .or_else(|| lost_on_the_way(evidence))
        .unwrap_or_else(|| not_measurable(evidence))
}

/// Rules 1, 2 and 2a.
fn not_trimmed(evidence: &Evidence<'_>) -> Option<Ruling> {
    if let Some(why) = evidence.failed {
        return Some(Ruling::new(Verdict::Failed, "1", why));
    }
    if let Some(why) = evidence.cut_short.filter(|_| !evidence.freed_enough()) {
        let because = format!("the run was stopped before its end ({why}); a later one picks up the rest");
        return Some(Ruling::new(Verdict::Failed, "1", because));
    }
    if let Some(guard) = evidence.guard {
        let because = format!("{}: {}", guard.layer.as_str(), guard.text);
        return Some(
            Ruling::new(Verdict::NotRun, "2", because)
                .fix(format!("to trim all the same: --anyway={}", guard.layer.as_str())),
        );
    }
    let cut = evidence.not_started?;
    let verdict = Verdict::of_a_cut(cut);
    let because = format!(
        "{}: {}; not started, a trim would free nothing and make ext4 forget it (--anyway={0} starts it)",
        cut.layer.as_str(),
        cut.text
    );
    Some(Ruling { fix: cut.fix.clone(), ..Ruling::new(verdict, "2a", because) })
}

/// Rules 3 to 5: the host's own figures show that space came back.
fn freed(evidence: &Evidence<'_>) -> Option<Ruling> {
    if !evidence.freed_enough() {
        return None;
    }
    if evidence.extents_shared && evidence.asks_for_sharing() {
        return Some(
            Ruling::new(
                Verdict::HeldOnHost,
                "3",
                "the image shrank and its datastore gained nothing: other files or snapshots of the host share the \
                 extents",
            )
            .fix("look for reflink copies and snapshots of the image; the space comes back with the last of them"),
        );
    }
    if let Some(why) = evidence.cut_short {
        let because = format!("the run was stopped before its end ({why}); a later one picks up the rest");
        return Some(Ruling::new(Verdict::PartlyReclaimed, "4", because));
    }
    if let Some(requests) = evidence.ledger.arrived_failed_requests.filter(|requests| *requests > 0) {
        let because = format!("{requests} discards failed at the image");
        return Some(Ruling::new(Verdict::PartlyReclaimed, "4", because));
    }
    if let Some((finding, _)) = evidence.holder() {
        return Some(Ruling::of(Verdict::PartlyReclaimed, "4", finding));
    }
    let because = match evidence.asks_for_sharing() {
        true => {
            "the image shrank; its datastore gained little meanwhile: others wrote to it, or share what came free"
        }
        false => "the image shrank",
    };
    Some(Ruling::new(Verdict::Reclaimed, "5", because))
}

/// Rule 6.
fn refused_by_host(evidence: &Evidence<'_>) -> Option<Ruling> {
    let requests = evidence.ledger.arrived_failed_requests.filter(|requests| *requests > 0)?;
    Some(
        Ruling::new(
            Verdict::HeldOnHost,
            "6",
            format!("{requests} discards failed at the image: the host filesystem or protocol cannot punch holes"),
        )
        .fix("NFS needs vers=4.2; ramfs and FUSE mostly cannot; QEMU tries again only after the VM's power cycle"),
    )
}

/// Rules 7 to 10.
fn nothing_sent(evidence: &Evidence<'_>) -> Option<Ruling> {
    if !evidence.nothing_sent() {
        return None;
    }
    let ruling = if let Some(cut) =
        evidence.cut(false).filter(|cut| cut.layer == crate::layers::Layer::Device)
    {
        Ruling::of(Verdict::CutInVmm, "7", cut)
    } else if let Some(cut) = evidence.cut(true) {
        Ruling::of(Verdict::CutInGuest, "8", cut)
    } else if evidence.slack_before.is_some_and(|slack| slack.min_bytes < evidence.threshold_bytes()) {
        Ruling::new(Verdict::AlreadyCompact, "9", "there was nothing to free")
    } else if evidence.proven_before {
        Ruling::new(
            Verdict::AlreadyCompact,
            "9",
            "there was nothing to free: a trim of this boot has arrived, and the guest has freed nothing since",
        )
    } else {
        Ruling::new(
            Verdict::CutInGuest,
            "10",
            "the guest sent nothing although there is slack: ext4 remembers what it has trimmed, whatever became of it",
        )
        .fix("trim once more with --again, which makes ext4 look again")
    };
    Some(ruling.on_guests_word())
}

/// Rules 11 to 15: something was sent, or it is not known whether.
fn lost_on_the_way(evidence: &Evidence<'_>) -> Option<Ruling> {
    if let Some(cut) = evidence.cut(false) {
        return Some(Ruling::of(Verdict::of_a_cut(cut), "11", cut));
    }
    let sent = evidence.ledger.sent_bytes.is_some_and(|bytes| bytes > 0);
    if evidence.nothing_to_free_whatever_was_sent() {
        return Some(Ruling::new(Verdict::AlreadyCompact, "9", "there was nothing to free").on_guests_word());
    }
    // Where nothing tells what was sent, a layer of the guest may have dropped all of it.
    let told = evidence.ledger.sent_bytes.is_some();
    match evidence.format? {
        Format::Raw if sent && evidence.ledger.arrived_bytes == Some(0) => Some(
            Ruling::new(
                Verdict::CutInVmm,
                "12",
                "drive: the guest sent discards and QEMU passed none on to the image",
            )
            .fix("set discard=unmap on the drive (libvirt: <driver discard='unmap'/>), then power-cycle the VM")
            .on_guests_word(),
        ),
        Format::Raw if sent && evidence.path_is_open() && evidence.ledger.freed_bytes.is_some() => {
            Some(Ruling::new(Verdict::AlreadyCompact, "13", "only holes were discarded").on_guests_word())
        }
        Format::Qcow2 => match evidence.format_holder() {
            Some(holder) => Some(Ruling::of(Verdict::HeldOnHost, "14", holder)),
            None if told && evidence.path_is_open() && evidence.ledger.freed_bytes.is_some() => {
                Some(Ruling::new(Verdict::AlreadyCompact, "15", "there was nothing to free"))
            }
            None => None,
        },
        _ => None,
    }
}

/// Rule 16: names the point that is missing.
fn not_measurable(evidence: &Evidence<'_>) -> Ruling {
    let ledger = evidence.ledger;
    if let Some(why) = evidence.unmeasured().filter(|_| ledger.freed_bytes.is_none()) {
        return Ruling::of(Verdict::NotMeasurable, "16", why);
    }
    let (missing, fix) = if ledger.freed_bytes.is_none() {
        ("the image's allocation could not be read", None)
    } else if ledger.sent_bytes.is_none() {
        (
            "nothing tells what the guest sent: qemu-ga does not say it, kernels before 4.18 do not count it, and a \
             disk that is paired with no image is not asked for it",
            None,
        )
    } else if ledger.arrived_bytes.is_none() {
        (
            "nothing tells what arrived at the image: QEMU's counters were not read",
            Some(
                "name the VM's QMP socket in the inventory (qmp = \"/path\"), or let libvirt ask QEMU's monitor: --qmp, \
                 which marks the domain as tainted until it is started anew",
            ),
        )
    } else {
        (
            "no discard has ever arrived at this image, and nothing tells whether QEMU passes them on",
            Some("see that the drive has discard=unmap; delete something in the guest and trim again"),
        )
    };
    Ruling { fix: fix.map(Fix::new), ..Ruling::new(Verdict::NotMeasurable, "16", missing) }
}

#[cfg(test)]
mod tests;
