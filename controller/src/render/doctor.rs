//! `trimtab doctor`: a VM layer by layer, top to bottom, and under each that is not open why, and how it is mended.

use super::{
    fix, mended,
    size::{iec, iec_or_unknown, iec_signed},
    style::{BAD, FAINT, GOOD, HELD, STRONG, styled},
    wrap::{both_ends, wrap},
};
use crate::{
    guest::text::safe,
    layers::{Finding, ImageFacts, Layer, State},
    model::{
        disk::{Manager, VmFacts, VmState},
        trouble::Trouble,
    },
    trim::{
        diagnosis::{Diagnosis, DiskDiagnosis},
        look::{DiskLook, Look},
        probe::Probe,
    },
};

/// Where the text of a finding begins.
const TEXT_COLUMN: usize = 35;
/// What stands before a fix.
const FIX_INDENT: &str = "         ";

/// One VM's part of the screen.
pub fn vm(name: &str, result: &Result<(Look, Diagnosis), Trouble>) -> String {
    let (look, diagnosis) = match result {
        Ok(both) => both,
        Err(trouble) => return format!("{}\n", super::error::for_person(name, trouble)),
    };
    let mut out = format!("{}  {}\n", styled(STRONG, &safe(name)), about(&look.vm));
    section(&mut out, "way", &diagnosis.way);
    for (disk, found) in look.disks.iter().zip(&diagnosis.disks) {
        out.push_str(&head(name, look, disk));
        if let Some(trouble) = &disk.image_trouble {
            out.push_str(&format!("  {}\n", super::error::for_person("image", trouble)));
        }
        for (title, layers) in [("guest", IN_GUEST), ("qemu", IN_QEMU), ("host", ON_HOST)] {
            let part: Vec<Finding> =
                found.findings.iter().filter(|finding| layers.contains(&finding.layer)).cloned().collect();
            section(&mut out, title, &part);
        }
        let conclusion = wrap("", "  ", &conclusion(diagnosis, found, look.guest.is_ok()));
        for line in found.probe.iter().map(probed).chain([conclusion]) {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out.push_str(&mended::outcome(name, &look.vm, &diagnosis.mended));
    out
}

const IN_GUEST: &[Layer] =
    &[Layer::Filesystem, Layer::Crypt, Layer::Lvm, Layer::Md, Layer::Scsi, Layer::Device, Layer::Granularity];
const IN_QEMU: &[Layer] = &[Layer::Drive, Layer::Format, Layer::Preallocation, Layer::Backup, Layer::Job];
const ON_HOST: &[Layer] =
    &[Layer::Protocol, Layer::HostFilesystem, Layer::Datastore, Layer::Volume, Layer::Underneath];

/// Who manages the VM, and whether it runs.
fn about(vm: &VmFacts) -> String {
    let manager = match &vm.manager {
        Manager::Libvirt { uri, .. } => format!("libvirt {}", safe(uri)),
        Manager::Qemu => "QEMU".to_owned(),
        Manager::Unknown => "known from the inventory alone".to_owned(),
    };
    let state = match &vm.state {
        Some(VmState::Running) => ", running".to_owned(),
        Some(VmState::Stopped(why)) => format!(", does not run ({})", safe(why)),
        Some(VmState::Off) => ", off".to_owned(),
        None => String::new(),
    };
    format!("{manager}{state}")
}

fn head(vm: &str, look: &Look, disk: &DiskLook) -> String {
    let name = look.guest_disk(disk).map_or_else(|| disk.host.name(), |device| &device.name);
    let image = disk.host.image.as_ref().map_or_else(
        || format!("({})", safe(&disk.host.protocol)),
        |image| safe(&image.path.display().to_string()),
    );
    let paired = match disk.guest {
        Some((_, by)) => format!("paired by {}", by.as_str()),
        None => "not paired".to_owned(),
    };
    let allocated = disk.image.as_ref().and_then(ImageFacts::allocated_bytes);
    let slack = match look.slack(disk) {
        Some(slack) => format!("slack {} of {}", iec(slack.max_bytes), iec_or_unknown(allocated)),
        None => format!("allocated {}", iec_or_unknown(allocated)),
    };
    let line = both_ends(&format!("{} {}  {image}  {paired}", safe(vm), safe(name)), &slack);
    format!("{}\n", styled(STRONG, &line))
}

/// The lines of one part of the way; nothing where it has none.
fn section(out: &mut String, title: &str, findings: &[Finding]) {
    for (index, finding) in findings.iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        let state = format!("{:<8}", state(finding));
        let begun = format!("  {title:<7}{:<17}{state} ", finding.layer.as_str());
        let lines = wrap(&begun, &" ".repeat(TEXT_COLUMN), &safe(&finding.text));
        // Widths are counted by now; the first such word of the line is the state's.
        out.push_str(&lines.replacen(&state, &styled(style_of(finding.state), &state), 1));
        out.push('\n');
        if let Some(fix) = &finding.fix {
            out.push_str(&fix::lines(FIX_INDENT, fix));
            out.push('\n');
        }
    }
}

fn state(finding: &Finding) -> String {
    match (finding.state, finding.held_bytes) {
        (State::Open, _) => "open".to_owned(),
        (State::Note, _) => "note".to_owned(),
        (State::Cut, _) => "CUT".to_owned(),
        (State::Holds, Some(bytes)) => format!("holds {}", iec(bytes)),
        (State::Holds, None) => "HOLDS".to_owned(),
        (State::Unknown, _) => "unknown".to_owned(),
    }
}

fn style_of(state: State) -> anstyle::Style {
    match state {
        State::Open => GOOD,
        State::Note | State::Holds => HELD,
        State::Cut => BAD,
        State::Unknown => FAINT,
    }
}

/// What the probe found: the figures of its way, and the sentence.
fn probed(probe: &Probe) -> String {
    let (word, style) = match probe.proven {
        Some(true) => ("proven", GOOD),
        Some(false) => ("NOT OPEN", BAD),
        None => ("not known", FAINT),
    };
    let ended = probe.ended_at.map(|layer| format!(" at {}", layer.as_str())).unwrap_or_default();
    let way = match probe.range_bytes {
        Some(range) => format!(
            " (range {} -> sent {} -> arrived {} -> image {})",
            iec(range),
            iec_or_unknown(probe.sent_bytes),
            probe.arrived_bytes.map_or_else(|| "not read".to_owned(), iec),
            probe.fell_bytes.map_or_else(|| "?".to_owned(), |fell| iec_signed(fell.saturating_neg())),
        ),
        None => String::new(),
    };
    let on = probe.mount.as_ref().map(|mount| format!(" on {}", safe(mount))).unwrap_or_default();
    let more = if probe.trimmed_more { "; this filesystem trims more than the file's range" } else { "" };
    let hint = probe.hint.as_ref().map(|hint| format!("; {}", safe(hint))).unwrap_or_default();
    let line = format!("probe{on}: {word}{ended}: {}{way}{more}{hint}", safe(&probe.text));
    // Widths are counted without the style.
    wrap("", "  ", &line).replacen(&format!(": {word}"), &format!(": {}", styled(style, word)), 1)
}

/// What it comes to.
fn conclusion(diagnosis: &Diagnosis, disk: &DiskDiagnosis, guest_was_read: bool) -> String {
    let mut said = Vec::new();
    if let Some(layer) = diagnosis.way_cut() {
        said.push(format!("cut at {}: nothing in this guest can be trimmed.", layer.as_str()));
    }
    match (disk.first_cut(), disk.holder()) {
        (Some(layer), _) => said.push(format!(
            "cut at {}. A trim now frees nothing and makes ext4 forget it; fix first.",
            layer.as_str()
        )),
        (None, Some(holder)) => {
            said.push(format!("{} holds what is named above; the rest is open.", holder.layer.as_str()));
        }
        (None, None) if disk.unread => said.push("the image could not be read.".to_owned()),
        (None, None) if !guest_was_read => {
            said.push("open as far as the host's side tells; the guest's was not read.".to_owned());
        }
        (None, None) if diagnosis.way_cut().is_none() => said.push(
            match disk.proven() {
                Some(true) => "open, and proven.",
                Some(false) => "nothing is seen to cut, and yet the way is not open.",
                None => "open as far as can be seen.",
            }
            .to_owned(),
        ),
        (None, None) => {}
    }
    if let Some(guard) = &disk.guard {
        let passes = if guard.passes_by_itself { "passes by itself; " } else { "" };
        said.push(format!(
            "Not now: {}: {} ({passes}--anyway={0} overrides).",
            guard.layer.as_str(),
            safe(&guard.text)
        ));
    }
    if disk.probe.is_none() && guest_was_read {
        said.push("Path not proven (--probe).".to_owned());
    }
    said.join(" ")
}

#[cfg(test)]
mod tests;
