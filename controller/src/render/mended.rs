//! A change of a VM's configuration: what is taken out, what is put in, what became of it.

use super::{
    error::for_person,
    style::{BAD, GOOD, HELD, STRONG, styled},
    wrap::wrap,
};
use crate::{
    guest::text::{safe, safe_within},
    layers::words,
    model::disk::VmFacts,
    trim::mended::{Mended, Outcome},
};

/// The change alone, to be agreed to.
pub fn change(vm: &str, mended: &Mended) -> String {
    let subject = match &mended.disk {
        Some(disk) => format!("{} {}", safe(vm), safe(disk)),
        None => safe(vm),
    };
    let before: Vec<&str> = mended.before.iter().flat_map(|text| text.lines()).collect();
    let after: Vec<&str> = mended.after.iter().flat_map(|text| text.lines()).collect();
    let mut out = format!("{}: the configuration of the next start\n", styled(STRONG, &subject));
    let shown = |line: &str| safe_within(line, usize::MAX);
    let mut gone = before.iter().filter(|line| !after.contains(line)).peekable();
    let mut push = |mark: char, line: &str, style: Option<anstyle::Style>| {
        let line = format!("  {mark} {}", shown(line));
        out.push_str(&style.map_or_else(|| line.clone(), |style| styled(style, &line)));
        out.push('\n');
    };
    // The elements are the same but for a line or two, each changed in its place.
    for line in &after {
        let is_new = !before.contains(line);
        if let Some(old) = gone.next_if(|_| is_new) {
            push('-', old, Some(BAD));
        }
        push(if is_new { '+' } else { ' ' }, line, is_new.then_some(GOOD));
    }
    for old in gone {
        push('-', old, Some(BAD));
    }
    out
}

/// What became of each change of a VM.
pub fn outcome(vm: &str, facts: &VmFacts, all: &[Mended]) -> String {
    let mut out = String::new();
    for mended in all {
        let layer = mended.layer.as_str();
        match &mended.outcome {
            Outcome::Done => {
                out.push_str(&change(vm, mended));
                out.push_str(&format!("{} {layer}\n", styled(GOOD, "mended:")));
            }
            Outcome::AlreadyThere => {
                let disk = mended.disk.as_ref().map(|disk| format!(" of {}", safe(disk))).unwrap_or_default();
                out.push_str(&format!(
                    "{} {layer}{disk} in the configuration already\n",
                    styled(GOOD, "mended:")
                ));
            }
            Outcome::Declined => {
                out.push_str(&change(vm, mended));
                out.push_str(&format!("{} {layer}; --yes makes the change\n", styled(HELD, "not mended:")));
            }
            Outcome::Failed(trouble) => {
                out.push_str(&for_person(&format!("{} {layer}", styled(BAD, "not mended:")), trouble));
                out.push('\n');
            }
        }
    }
    if all.iter().any(Mended::waits_for_power_cycle) {
        let text = "It holds from the next start of QEMU on; a reboot inside the guest is not enough. Shut the VM down, and \
                    start it when it is off:";
        out.push_str(&wrap("", "", text));
        out.push('\n');
        for line in ["shutdown", "start"].into_iter().filter_map(|verb| words::virsh(facts, verb)) {
            out.push_str(&format!("  {}\n", safe_within(&line, usize::MAX)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{layers::Layer, model::disk::Manager};

    #[test]
    fn only_what_changes_is_marked() {
        let element = |driver: &str| format!("<disk>\n  {driver}\n  <target dev='vda'/>\n</disk>");
        let mended = Mended {
            layer: Layer::Drive,
            disk: Some("vda".into()),
            before: Some(element("<driver type='raw'/>")),
            after: Some(element("<driver type='raw' discard='unmap'/>")),
            outcome: Outcome::Done,
        };
        let manager = Manager::Libvirt { uri: "qemu:///session".into(), domain: "a b".into() };
        let facts = VmFacts { manager, ..VmFacts::default() };
        let screen = anstream::adapter::strip_str(&outcome("a b", &facts, &[mended])).to_string();
        assert_eq!(
            screen,
            "a b vda: the configuration of the next start
    <disk>
  -   <driver type='raw'/>
  +   <driver type='raw' discard='unmap'/>
      <target dev='vda'/>
    </disk>
mended: drive
It holds from the next start of QEMU on; a reboot inside the guest is not enough. Shut the VM down,
and start it when it is off:
  virsh -c qemu:///session shutdown 'a b'
  virsh -c qemu:///session start 'a b'
"
        );
    }
}
