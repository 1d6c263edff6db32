//! What a probe's readings mean. Pure.
//!
//! The file's bytes were on the image while it was there (`between`), so where the way is open the image falls by them.
//! Counters tell how far the discards got. Rules in this order, the first that holds:
//!
//! | # | when | then |
//! |---|---|---|
//! | 1 | the guest's disk sent nothing | ended in the guest |
//! | 2 | the image fell by half of the file or more, and counters do not speak against it | proven |
//! | 3 | requests failed at the image | ended at the protocol or the host filesystem |
//! | 4 | nothing arrived at the image | ended at the drive; on qcow2 at the format, where that is known to hold or the drive to be open |
//! | 5 | the file lies in pieces smaller than the image's clusters | cannot tell |
//! | 6 | nothing measures the image, or it was not read in between | cannot tell |
//! | 7 | the guest wrote a quarter of the file or more meanwhile | cannot tell |
//! | 8 | it arrived, and the image stayed | ended at the host filesystem; at the format, where that is known to hold |
//! | 9 | there are no counters, and the image stayed | ended below the guest: where a layer is known to cut, there |

use crate::{
    layers::{Finding, Layer, State},
    ledger::account::Reading,
    model::{guest::FreeExtents, image::Format},
};

/// What a probe's judgement is drawn from.
#[derive(Clone, Debug)]
pub(super) struct Evidence<'a> {
    /// Of the file.
    pub(super) bytes: u64,
    /// In what pieces it lay.
    pub(super) extents: &'a [FreeExtents],
    /// What the guest's disk discarded since the file was given up.
    pub(super) sent_bytes: Option<u64>,
    /// What it wrote.
    pub(super) written_bytes: Option<u64>,
    /// Before anything.
    pub(super) before: Reading,
    /// While the file was there; `None` where no reading was done in time.
    pub(super) between: Option<Reading>,
    /// When all stood still.
    pub(super) after: Reading,
    /// Of the disk's layers.
    pub(super) findings: &'a [Finding],
    /// The image's.
    pub(super) format: &'a Format,
    /// A qcow2 image's clusters; `None` for others.
    pub(super) cluster_bytes: Option<u64>,
    /// The image lies on a network filesystem.
    pub(super) is_remote: bool,
}

/// What came of a probe.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ruling {
    pub(super) proven: Option<bool>,
    pub(super) ended_at: Option<Layer>,
    pub(super) text: String,
}

impl Ruling {
    fn open(text: impl Into<String>) -> Self {
        Self { proven: Some(true), ended_at: None, text: text.into() }
    }

    fn ended(at: Option<Layer>, text: impl Into<String>) -> Self {
        Self { proven: Some(false), ended_at: at, text: text.into() }
    }

    fn unknown(text: impl Into<String>) -> Self {
        Self { proven: None, ended_at: None, text: text.into() }
    }
}

impl Evidence<'_> {
    /// The fall of the image when the file was given up; growth is negative.
    pub(super) fn fell_bytes(&self) -> Option<i64> {
        let from = self.between.unwrap_or(self.before);
        let from = i64::try_from(from.allocated_bytes?).ok()?;
        from.checked_sub(i64::try_from(self.after.allocated_bytes?).ok()?)
    }

    /// What reached the image since the file was given up, or since before it was written.
    pub(super) fn arrived_bytes(&self) -> Option<u64> {
        let from = self.between.unwrap_or(self.before);
        self.after.counters.arrived_bytes?.checked_sub(from.counters.arrived_bytes?)
    }

    fn failed_requests(&self) -> u64 {
        let from = self.between.unwrap_or(self.before);
        let moved = self.after.counters.failed_requests.zip(from.counters.failed_requests);
        moved.and_then(|(after, before)| after.checked_sub(before)).unwrap_or(0)
    }

    /// What the guest wrote while the file was given up, by the larger of both counts.
    fn written_meanwhile(&self) -> u64 {
        let from = self.between.unwrap_or(self.before);
        let host = self.after.counters.written_bytes.zip(from.counters.written_bytes);
        let host = host.and_then(|(after, before)| after.checked_sub(before));
        host.unwrap_or(0).max(self.written_bytes.unwrap_or(0))
    }

    /// Bytes of the file in pieces that hold a whole cluster wherever they begin.
    fn in_clusters(&self) -> u64 {
        let Some(cluster) = self.cluster_bytes else { return self.bytes };
        let large = self.extents.iter().find(|class| class.at_least_bytes >= cluster.saturating_mul(2));
        large.map_or(0, |class| class.bytes)
    }

    fn first(&self, wanted: impl Fn(&Finding) -> bool) -> Option<Layer> {
        self.findings.iter().find(|finding| wanted(finding)).map(|finding| finding.layer)
    }

    fn format_holds(&self) -> bool {
        let at_format = |finding: &Finding| {
            finding.layer == Layer::Format && matches!(finding.state, State::Holds | State::Cut)
        };
        self.first(at_format).is_some()
    }

    /// A layer below the guest's disk that is known to cut.
    fn cut_below(&self) -> Option<Layer> {
        self.first(|finding| finding.state == State::Cut && finding.layer >= Layer::Drive)
    }
}

/// The ruling.
pub(super) fn judge(evidence: &Evidence<'_>) -> Ruling {
    let half = evidence.bytes.checked_div(2).unwrap_or(0);
    let quarter = evidence.bytes.checked_div(4).unwrap_or(0);
    let arrived = evidence.arrived_bytes();
    let fell = evidence.fell_bytes();
    let fell_by_half = fell.is_some_and(|fell| u64::try_from(fell).is_ok_and(|fell| fell >= half));
    match () {
        () if evidence.sent_bytes == Some(0) => {
            let cut = evidence.first(|finding| finding.state == State::Cut && finding.layer < Layer::Drive);
            Ruling::ended(Some(cut.unwrap_or(Layer::Filesystem)), "the guest's disk was sent nothing")
        }
        () if fell_by_half && arrived != Some(0) => Ruling::open("the image gave the file's space back"),
        () if evidence.failed_requests() > 0 => {
            let layer = if evidence.is_remote { Layer::Protocol } else { Layer::HostFilesystem };
            let text = "the discards came as far as the image, and the host refused them";
            Ruling::ended(Some(layer), text)
        }
        () if arrived == Some(0) => nothing_arrived(evidence),
        () if evidence.in_clusters() < half => Ruling::unknown(
            "its file lies in pieces that are smaller than the image's clusters, which give nothing back",
        ),
        () if evidence.after.allocated_bytes.is_none() && arrived.is_some() => {
            Ruling::unknown("the discards arrived; what they free cannot be measured where this image lies")
        }
        () if evidence.after.allocated_bytes.is_none() => {
            Ruling::unknown("nothing measures what this image occupies")
        }
        () if evidence.between.is_none() => {
            Ruling::unknown("the image could not be read while the file was there; try again")
        }
        () if evidence.written_meanwhile() >= quarter => {
            Ruling::unknown("the guest wrote too much meanwhile; try again when it is quieter")
        }
        () if arrived.is_some() && evidence.format_holds() => {
            Ruling::ended(Some(Layer::Format), "the discards arrived, and the image keeps its clusters")
        }
        () if arrived.is_some() => {
            let text = "the discards arrived, and the image occupies as much as before";
            Ruling::ended(Some(Layer::HostFilesystem), text)
        }
        () => match evidence.cut_below() {
            Some(layer) => {
                Ruling::ended(Some(layer), "the guest sent discards, and the image stayed as it was")
            }
            None if evidence.format_holds() => Ruling::ended(
                Some(Layer::Format),
                "the guest sent discards, and the image keeps its clusters",
            ),
            None => Ruling::ended(
                None,
                "the guest sent discards, and the image stayed as it was; QEMU's counters would tell where they ended",
            ),
        },
    }
}

/// On qcow2 only what frees clusters gets to the file, so a holder hides an open drive.
fn nothing_arrived(evidence: &Evidence<'_>) -> Ruling {
    let drive_is_open =
        evidence.first(|finding| finding.layer == Layer::Drive && finding.state == State::Open).is_some();
    let text = "the guest sent discards, and none arrived at the image";
    if *evidence.format == Format::Raw {
        return Ruling::ended(Some(Layer::Drive), text);
    }
    let half = evidence.bytes.checked_div(2).unwrap_or(0);
    match () {
        () if evidence.cut_below().is_some() => Ruling::ended(evidence.cut_below(), text),
        () if evidence.format_holds() => Ruling::ended(Some(Layer::Format), text),
        () if evidence.in_clusters() < half => Ruling::unknown(
            "its file lies in pieces that are smaller than the image's clusters, which give nothing back",
        ),
        () if drive_is_open => Ruling::ended(Some(Layer::Format), text),
        () => Ruling::ended(
            None,
            "the guest sent discards, and none arrived at the image: the drive drops them, or the format keeps its clusters",
        ),
    }
}

#[cfg(test)]
mod tests;
