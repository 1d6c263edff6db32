//! A domain's labels: `<metadata>` of its XML, in trimtab's namespace. Pure.
//!
//! ```text
//! <metadata>
//!   <trimtab:labels xmlns:trimtab="urn:trimtab:labels:1">
//!     <trimtab:label>prod</trimtab:label>
//! ```
//!
//! Whoever defines domains writes there: how many and how long is bounded, and what could not be a term of `--select` is
//! left out.

use roxmltree::Node;

use super::child;
use crate::toml_text::is_label;

/// The namespace of `<labels>`.
pub(super) const NAMESPACE: &str = "urn:trimtab:labels:1";

/// More would be no labels any more.
const MOST: usize = 64;

/// The longest label, in bytes.
const LONGEST: usize = 64;

/// The labels in a domain's metadata, each once.
pub(super) fn labels(root: Node<'_, '_>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let ours = |node: &Node<'_, '_>, name| node.has_tag_name((NAMESPACE, name));
    let elements = child(root, "metadata").into_iter().flat_map(|metadata| metadata.children());
    let elements = elements.filter(|node| ours(node, "labels")).flat_map(|element| element.children());
    for label in elements.filter(|node| ours(node, "label")) {
        let text = label.text().unwrap_or_default().trim();
        if is_label(text) && text.len() <= LONGEST && all.len() < MOST && !all.iter().any(|one| one == text) {
            all.push(text.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::domain;

    fn labels(metadata: &str) -> Vec<String> {
        domain(&format!("<domain><metadata>{metadata}</metadata></domain>")).unwrap().labels
    }

    #[test]
    fn as_virsh_metadata_writes_them() {
        let ours = "<trimtab:labels xmlns:trimtab='urn:trimtab:labels:1'>";
        let written = format!(
            "<x:labels xmlns:x='urn:other'><x:label>theirs</x:label></x:labels>{ours}
               <trimtab:label>prod</trimtab:label> <trimtab:label> web </trimtab:label>
               <trimtab:label>prod</trimtab:label></trimtab:labels>"
        );
        assert_eq!(labels(&written), ["prod", "web"]);
        assert_eq!(labels("<labels xmlns='urn:trimtab:labels:1'><label>a</label></labels>"), ["a"]);
        assert!(labels("").is_empty() && domain("<domain/>").unwrap().labels.is_empty());
    }

    #[test]
    fn what_is_no_label_is_left_out() {
        let inside = |inner: &str| labels(&format!("<labels xmlns='urn:trimtab:labels:1'>{inner}</labels>"));
        let long = "x".repeat(65);
        let odd =
            format!("<label>a b</label><label/><label>{long}</label><label>&#x9;</label><label>ok</label>");
        assert_eq!(inside(&odd), ["ok"]);
        let many: String = (0..100).map(|n| format!("<label>l{n}</label>")).collect();
        assert_eq!(inside(&many).len(), super::MOST);
    }
}
