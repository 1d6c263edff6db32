//! Where a disk's data lies: the `<source>` of a `<disk>`, of a layer below it, or of a mirror. Pure.

use std::path::{Path, PathBuf};

use roxmltree::Node;

use crate::model::image::{Format, Image};

/// The first element of this name directly below.
pub(super) fn child<'a, 'i: 'a>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| is_called(child, name))
}

/// libvirt's own elements are in no namespace.
pub(super) fn is_called(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace().is_none() && node.tag_name().name() == name
}

/// The file or device of this host, if it is one; its format is what the XML says, "raw" where it says nothing, as
/// libvirt itself takes it (virStorageSource: format probing has been off since 2010).
pub(super) fn image(layer: Node<'_, '_>, source: Node<'_, '_>, format: Option<&str>) -> Option<Image> {
    let name = match layer.attribute("type")? {
        "file" => source.attribute("file")?,
        "block" => source.attribute("dev")?,
        _ => return None,
    };
    if !Path::new(name).is_absolute() || name.chars().any(|c| c == '\0') {
        return None;
    }
    Some(Image { path: name.into(), format: layout(source, format.unwrap_or("raw")) })
}

/// A qcow2's external data file (`<dataStore>`, libvirt 10.10).
pub(super) fn data_file(disk: Node<'_, '_>, source: Node<'_, '_>) -> Option<PathBuf> {
    let store = child(source, "dataStore").or_else(|| child(disk, "dataStore"))?;
    Some(image(store, child(store, "source")?, None)?.path)
}

/// Beyond the format's name there can be a layer that QEMU puts on top of the bytes.
fn layout(source: Node<'_, '_>, format: &str) -> Format {
    let luks = child(source, "encryption").and_then(|how| how.attribute("format")) == Some("luks");
    match format {
        // A format node of its own; a qcow2 does its encryption itself.
        "raw" if luks => Format::Other("luks".to_owned()),
        "raw" if child(source, "slices").is_some() => Format::Other("slice of raw".to_owned()),
        other => Format::parse(other),
    }
}

/// QEMU's driver of the protocol node, as far as it can be told from the XML.
pub(super) fn protocol(layer: Node<'_, '_>, source: Node<'_, '_>) -> String {
    match layer.attribute("type").unwrap_or_default() {
        "file" => "file",
        "block" => "host_device",
        "network" => source.attribute("protocol").unwrap_or("network"),
        "volume" => "storage volume",
        other => other,
    }
    .to_owned()
}
