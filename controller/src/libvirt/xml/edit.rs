//! One element of a domain's XML, taken out and changed as text: what is not understood in it stays as it is. Pure.

use std::ops::Range;

use roxmltree::Node;

use super::{NotADomain, child, document, link, named};
use crate::model::disk::Link;

/// The `<disk>` with a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct DiskElement {
    /// As it stands there.
    pub(in super::super) before: String,
    /// The same with `discard='unmap'`; equal where it says so already.
    pub(in super::super) after: String,
}

/// The disk with this target, and how it would be with `discard='unmap'`; `None` where there is none.
pub(in super::super) fn unmapped(text: &str, target: &str) -> Result<Option<DiskElement>, NotADomain> {
    let document = document(text)?;
    let disks = named(child(document.root_element(), "devices"), "disk");
    let is_it = |disk: &Node<'_, '_>| child(*disk, "target").and_then(|t| t.attribute("dev")) == Some(target);
    let Some(disk) = disks.into_iter().find(is_it) else { return Ok(None) };
    let begin = disk.range().start;
    let Some(before) = text.get(disk.range()) else { return Ok(None) };
    let (place, words) = match child(disk, "driver") {
        Some(driver) => match driver.attribute_node("discard") {
            Some(discard) => (discard.range_value(), "unmap".to_owned()),
            None => (after_the_name(driver), " discard='unmap'".to_owned()),
        },
        // Without a driver libvirt takes its defaults; they stay what they are.
        None => (after_the_tag(disk, before), "<driver name='qemu' discard='unmap'/>".to_owned()),
    };
    let place = place.start.saturating_sub(begin)..place.end.saturating_sub(begin);
    let after = match (before.get(..place.start), before.get(place.end..)) {
        (Some(head), Some(tail)) => [head, &words, tail].concat(),
        _ => return Ok(None),
    };
    Ok(Some(DiskElement { before: before.to_owned(), after }))
}

/// Whether the domain has a vsock device, or one that libvirt does not know of.
pub(in super::super) fn has_vsock(text: &str) -> Result<bool, NotADomain> {
    Ok(link(document(text)?.root_element()) != Link::Missing)
}

/// Where `<name` ends.
fn after_the_name(node: Node<'_, '_>) -> Range<usize> {
    let end = node.range().start.saturating_add("<".len()).saturating_add(node.tag_name().name().len());
    end..end
}

/// Where the opening tag of an element ends that has children: its first child's begin.
fn after_the_tag(node: Node<'_, '_>, text: &str) -> Range<usize> {
    let end =
        node.first_child().map_or(node.range().start.saturating_add(text.len()), |child| child.range().start);
    end..end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edited(driver: &str) -> DiskElement {
        let disk =
            format!("<disk type='file' device='disk'>\n  {driver}<target dev='vda' bus='virtio'/>\n</disk>");
        let other = "<disk><driver name='qemu'/><target dev='vdb'/></disk>";
        let text = format!("<domain><devices>{other}{disk}</devices></domain>");
        let found = unmapped(&text, "vda").unwrap().unwrap();
        assert_eq!(found.before, disk);
        found
    }

    #[test]
    fn one_attribute_and_nothing_else() {
        for (name, driver, expected) in [
            (
                "not said",
                "<driver name='qemu' type='raw'/>",
                "<driver discard='unmap' name='qemu' type='raw'/>",
            ),
            ("ignore", "<driver discard=\"ignore\" io='native'/>", "<driver discard=\"unmap\" io='native'/>"),
            ("an empty one", "<driver/>", "<driver discard='unmap'/>"),
            ("with children", "<driver a='1'><x/></driver>", "<driver discard='unmap' a='1'><x/></driver>"),
            ("unmap", "<driver discard='unmap'/>", "<driver discard='unmap'/>"),
        ] {
            let found = edited(driver);
            assert_eq!(found.after, found.before.replace(driver, expected), "{name}");
        }
        let none = edited("");
        assert!(
            none.after.contains("<disk type='file' device='disk'><driver name='qemu' discard='unmap'/>\n"),
            "{none:?}"
        );
    }

    #[test]
    fn none_of_that_target() {
        assert_eq!(unmapped("<domain><devices/></domain>", "vda"), Ok(None));
        assert_eq!(unmapped("<domain/>", "vda"), Ok(None));
        assert!(unmapped("<domain>", "vda").is_err());
    }

    #[test]
    fn vsock_devices() {
        for (inner, expected) in [("<vsock model='virtio'/>", true), ("<disk/>", false)] {
            assert_eq!(
                has_vsock(&format!("<domain><devices>{inner}</devices></domain>")),
                Ok(expected),
                "{inner}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_says_unmap_once(
            head in "( a='[ -%(-;=-~äß]{0,5}'){0,1}", said in prop::option::of("[ -%(-;=-~äß]{0,8}"), tail in "[ -%(-;=?-~äß]{0,9}",
        ) {
            let discard = said.map(|said| format!(" discard='{said}'")).unwrap_or_default();
            let found = edited(&format!("<driver{head}{discard}/>{tail}"));
            let text = format!("<domain><devices>{}</devices></domain>", found.after);
            let again = unmapped(&text, "vda").unwrap().unwrap();
            prop_assert_eq!(&again.before, &again.after);
            prop_assert_eq!(found.after.matches("discard='unmap'").count(), 1);
        }
    }
}
