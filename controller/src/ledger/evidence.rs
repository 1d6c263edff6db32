//! What a verdict is drawn from: the ledger, the findings of the layers, and how the run went.

use super::{account::Ledger, slack::Slack};
use crate::{
    layers::{Finding, Guard, Layer, State},
    model::image::Format,
};

const MIB: u64 = 1 << 20;

/// Everything that bears on one disk's verdict.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// A step failed: what and why.
    pub failed: Option<&'a str>,
    /// A guard said no.
    pub guard: Option<&'a Guard>,
    /// Not started, since this layer is known to cut.
    pub not_started: Option<&'a Finding>,
    /// The run ended before its end, in a word: "cancelled", "deadline".
    pub cut_short: Option<&'a str>,
    /// Before and after.
    pub ledger: &'a Ledger,
    /// Of the layers, before the run.
    pub findings: &'a [Finding],
    /// What the datastore's free space gained; only where this disk alone was trimmed on it.
    pub datastore_gain_bytes: Option<i64>,
    /// The image shares extents with another file or a snapshot of the host.
    pub extents_shared: bool,
    /// Before the run.
    pub slack_before: Option<Slack>,
    /// After it.
    pub slack_after: Option<Slack>,
    /// This boot already had a trim whose discards arrived.
    pub proven_before: bool,
    /// The image's; `None` where there is no image on this host.
    pub format: Option<&'a Format>,
}

impl Evidence<'_> {
    /// T = max(16 MiB, 1 % of allocated before): less than that is noise.
    pub fn threshold_bytes(&self) -> u64 {
        let one_percent = self.ledger.allocated_before_bytes.unwrap_or(0).checked_div(100).unwrap_or(0);
        one_percent.max(16_u64.saturating_mul(MIB))
    }

    pub(super) fn freed_enough(&self) -> bool {
        self.ledger
            .freed_bytes
            .and_then(|freed| u64::try_from(freed).ok())
            .is_some_and(|freed| freed >= self.threshold_bytes())
    }

    /// Whether [`Self::extents_shared`] would decide: the image fell and its datastore gained nothing.
    pub fn asks_for_sharing(&self) -> bool {
        self.freed_enough() && self.gained_nothing()
    }

    /// The guest's counters say that nothing at all was sent.
    pub(super) fn nothing_sent(&self) -> bool {
        self.ledger.sent_bytes == Some(0)
    }

    /// Nothing tells what was sent, and less than T was there to be freed.
    pub(super) fn nothing_to_free_whatever_was_sent(&self) -> bool {
        self.ledger.sent_bytes.is_none()
            && self.ledger.freed_bytes.is_some()
            && self.slack_before.is_some_and(|slack| slack.max_bytes < self.threshold_bytes())
    }

    /// The datastore gained next to nothing of what the image gave up.
    fn gained_nothing(&self) -> bool {
        match (self.datastore_gain_bytes, self.ledger.freed_bytes) {
            (Some(gain), Some(freed)) => gain < freed.checked_div(10).unwrap_or(0),
            _ => false,
        }
    }

    /// The finding that holds most, if it holds at least T of what is still there to free.
    pub(super) fn holder(&self) -> Option<(&Finding, u64)> {
        let left = self.slack_after.map_or(u64::MAX, |slack| slack.max_bytes);
        self.findings
            .iter()
            .filter(|finding| matches!(finding.state, State::Holds | State::Note))
            .filter_map(|finding| Some((finding, finding.held_bytes?.min(left))))
            .filter(|(_, held)| *held >= self.threshold_bytes())
            .max_by_key(|(_, held)| *held)
    }

    /// What of a qcow2 image keeps clusters, as rule 14 counts it.
    pub(super) fn format_holder(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.layer == Layer::Format && finding.state == State::Holds)
            .or_else(|| {
                self.findings.iter().find(|finding| {
                    finding.layer == Layer::Granularity
                        && finding.held_bytes.is_some_and(|held| held >= self.threshold_bytes())
                })
            })
    }

    /// Why the image's allocation is no measure.
    pub(super) fn unmeasured(&self) -> Option<&Finding> {
        let about_the_image = |layer| matches!(layer, Layer::Volume | Layer::Format | Layer::Protocol);
        self.findings.iter().find(|finding| finding.state == State::Unknown && about_the_image(finding.layer))
    }

    pub(super) fn cut(&self, in_guest: bool) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.state == State::Cut && finding.layer.is_in_guest() == in_guest)
    }

    /// QEMU is known to pass discards of this disk on: it says so, or bytes arrived, before or now.
    pub(super) fn path_is_open(&self) -> bool {
        self.ledger.arrived_bytes.is_some_and(|bytes| bytes > 0)
            || self
                .findings
                .iter()
                .any(|finding| finding.layer == Layer::Drive && finding.state == State::Open)
    }
}
