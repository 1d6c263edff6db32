//! One disk's row: its figures, and what is in the way in three words.

use crate::{
    guest::text::{safe, safe_within},
    layers::{self, Finding, ImageFacts, Layer, State},
    ledger::slack::Slack,
    model::trouble::{Kind, Trouble},
    trim::look::{DiskLook, Look},
};

/// What is in the way.
const WAY_CHARS: usize = 20;

/// One disk, ready to sort.
pub(super) struct Row {
    /// As the inventory has it.
    pub(super) vm: String,
    pub(super) disk: String,
    /// Its whole name; the table cuts it to the room that is left.
    pub(super) image: String,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) allocated_bytes: Option<u64>,
    pub(super) used_bytes: Option<u64>,
    pub(super) slack: Option<Slack>,
    /// Of the guest's free space, what lies in pieces too small for the image to free, where it is worth telling.
    pub(super) too_small: Option<String>,
    pub(super) way: InTheWay,
}

/// What stands in the way of a trim.
pub(super) struct InTheWay {
    pub(super) text: String,
    pub(super) kind: Way,
}

/// How it bears on the slack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A trim frees this disk's slack now.
    Open,
    /// It frees some of it, or would do so at another time.
    Held,
    /// It frees nothing.
    Cut,
    /// Not known.
    Unknown,
}

impl Row {
    pub(super) fn of(vm: &str, look: &Look, disk: &DiskLook) -> Self {
        let name = look.guest_disk(disk).map(|device| device.name.as_str());
        let name = name.or(disk.host.target.as_deref()).or(disk.host.guest_name.as_deref()).unwrap_or("?");
        let image = disk.host.image.as_ref().map_or_else(
            || format!("({})", disk.host.protocol),
            |image| match disk.image.as_ref().is_some_and(|facts| facts.allocation.is_block_device) {
                true => image.path.display().to_string(),
                false => image.path.file_name().unwrap_or_default().display().to_string(),
            },
        );
        let findings = look.findings(disk);
        Self {
            vm: vm.to_owned(),
            disk: safe_within(name, 8),
            image: safe(&image),
            virtual_bytes: disk.host.virtual_bytes,
            allocated_bytes: disk.image.as_ref().and_then(ImageFacts::allocated_bytes),
            used_bytes: look.used_bytes(disk),
            slack: look.slack(disk),
            too_small: findings
                .iter()
                .find(|finding| finding.layer == Layer::Granularity && finding.held_bytes.is_some())
                .map(|finding| format!("{vm} {}: {}", safe(name), safe(&finding.text))),
            way: in_the_way(look, disk, &findings),
        }
    }
}

fn in_the_way(look: &Look, disk: &DiskLook, findings: &[Finding]) -> InTheWay {
    let way = |text: &str, kind| InTheWay { text: safe_within(text, WAY_CHARS), kind };
    if disk.image_trouble.is_some() {
        return way("image not read", Way::Unknown);
    }
    if let Err(trouble) = &look.guest {
        return way(in_a_word(trouble), Way::Unknown);
    }
    if let Some(guard) = layers::guard(&look.facts(disk), &[]) {
        return way(&guard.short, Way::Held);
    }
    if let Some(cut) = layers::known_cut(findings) {
        return way(&cut.short, Way::Cut);
    }
    let decides = |layer| matches!(layer, Layer::Drive | Layer::Format | Layer::Protocol | Layer::Volume);
    let unproven = |finding: &&Finding| decides(finding.layer) && finding.state == State::Unknown;
    let holder = findings.iter().find(|finding| finding.state == State::Holds);
    match holder.or_else(|| findings.iter().find(unproven)) {
        Some(finding) => {
            way(&finding.short, if finding.state == State::Holds { Way::Held } else { Way::Unknown })
        }
        None if disk.guest.is_none() => way("not paired", Way::Unknown),
        None => way("nothing", Way::Open),
    }
}

/// Why a guest was not read.
pub(super) fn in_a_word(trouble: &Trouble) -> &'static str {
    match trouble.kind {
        Kind::VmOff => "off",
        Kind::VmPaused => "paused",
        Kind::NoLink => "no vsock",
        Kind::NoAgent => "no agent",
        Kind::NoPermission => "no permission",
        _ => "no answer",
    }
}
