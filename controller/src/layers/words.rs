//! In whose words a fix is said: whoever manages the VM. What came from outside is quoted for a shell here.

use bytesize::ByteSize;

use super::DiskFacts;
use crate::model::disk::{Manager, VmFacts};

/// libvirt's own default for root, which virsh takes where no URI is given.
const DEFAULT_URI: &str = "qemu:///system";

/// A word of a shell command. A placeholder where no quoting carries it through a terminal: a name with a zero byte, a
/// control character, or bytes that are no text.
pub(super) fn quoted(word: &str) -> String {
    let is_plain =
        |word: &str| !word.chars().any(|char| char.is_control() || char == char::REPLACEMENT_CHARACTER);
    match shlex::try_quote(word) {
        Ok(quoted) if is_plain(word) => quoted.into_owned(),
        _ => "NAME".to_owned(),
    }
}

/// "19.4 GiB".
pub(crate) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// The image's path as a shell takes it.
pub(super) fn image(facts: &DiskFacts<'_>) -> String {
    facts
        .host
        .image
        .as_ref()
        .map_or_else(|| "IMAGE".to_owned(), |image| quoted(&image.path.to_string_lossy()))
}

/// `virsh VERB DOMAIN`, where libvirt manages the VM.
pub fn virsh(vm: &VmFacts, verb: &str) -> Option<String> {
    let Manager::Libvirt { uri, domain } = &vm.manager else { return None };
    let connect = if uri == DEFAULT_URI { String::new() } else { format!("-c {} ", quoted(uri)) };
    Some(format!("virsh {connect}{verb} {}", quoted(domain)))
}

/// `trimtab VERB DOMAIN OPTIONS`, where libvirt manages the VM.
pub fn trimtab(vm: &VmFacts, verb: &str, options: &str) -> Option<String> {
    let Manager::Libvirt { uri, domain } = &vm.manager else { return None };
    let connect = if uri == DEFAULT_URI { String::new() } else { format!("--connect {} ", quoted(uri)) };
    Some(format!("trimtab {connect}{verb} {} {options}", quoted(domain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::Sample;

    #[test]
    fn what_came_from_outside_is_quoted() {
        for (word, expected) in [
            ("web-12", "web-12"),
            ("a b", "'a b'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", "\"it's\""),
            ("two\nlines", "NAME"),
            ("\u{1b}[2J", "NAME"),
            ("nul\0", "NAME"),
            ("lost \u{fffd}", "NAME"),
        ] {
            assert_eq!(quoted(word), expected, "{word:?}");
        }
    }

    #[test]
    fn virsh_lines() {
        let mut sample = Sample::raw();
        assert_eq!(virsh(&sample.vm, "edit"), None);
        let mut managed = |uri: &str| {
            sample.vm.manager = Manager::Libvirt { uri: uri.into(), domain: "web 12; reboot".into() };
            virsh(&sample.vm, "edit").unwrap()
        };
        assert_eq!(managed("qemu:///system"), "virsh edit 'web 12; reboot'");
        assert_eq!(managed("qemu:///session"), "virsh -c qemu:///session edit 'web 12; reboot'");
    }
}
