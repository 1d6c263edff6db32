//! PCI buses: libvirt's numbers → the guest's. Pure.
//!
//! libvirt counts its controllers in the order that they were added; firmware (SeaBIOS' pci_bios_init_bus(), OVMF
//! likewise) numbers the bus behind each bridge as it meets it, depth first, by slot and function. Linux on x86 keeps the
//! firmware's numbers. Taking the one for the other would tie a disk to its neighbour.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::{MAX_DISKS, named, number, source::child};

/// libvirt's index of each bus with the guest's number for it.
#[derive(Debug, Default)]
pub(super) struct Buses(BTreeMap<u32, u32>);

/// A bridge: libvirt's bus that it sits on, its slot and function there, and its own index.
type Bridge = (u32, u32, u32, u32);

impl Buses {
    pub(super) fn of(devices: Option<Node<'_, '_>>) -> Self {
        let controllers: Vec<_> = named(devices, "controller")
            .filter(|one| one.attribute("type") == Some("pci"))
            .take(MAX_DISKS)
            .collect();
        // An expander begins a root of its own, with a number of its own: nothing is said of such a machine.
        let expander =
            |one: &Node<'_, '_>| one.attribute("model").is_some_and(|model| model.contains("expander"));
        if controllers.iter().any(expander) {
            return Self::default();
        }
        let mut bridges: Vec<Bridge> = controllers.into_iter().filter_map(bridge).collect();
        bridges.sort_unstable();
        Self(numbered(&bridges))
    }

    /// The guest's number of a bus; `None` where it cannot be foreseen.
    pub(super) fn seen_by_guest(&self, index: u32) -> Option<u32> {
        self.0.get(&index).copied()
    }
}

fn bridge(controller: Node<'_, '_>) -> Option<Bridge> {
    let index = controller.attribute("index").and_then(number)?;
    let address = child(controller, "address")?;
    let part = |name| address.attribute(name).and_then(number);
    Some((part("bus")?, part("slot")?, part("function")?, index))
}

/// Depth first from the root, which is 0 on both sides; each bridge once, so that a circle ends.
fn numbered(bridges: &[Bridge]) -> BTreeMap<u32, u32> {
    let mut numbers = BTreeMap::from([(0, 0)]);
    let mut ahead: Vec<u32> = behind(bridges, 0);
    while let Some(index) = ahead.pop() {
        if numbers.contains_key(&index) {
            continue;
        }
        let Ok(number) = u32::try_from(numbers.len()) else { break };
        numbers.insert(index, number);
        ahead.extend(behind(bridges, index));
    }
    numbers
}

/// The bridges on a bus, the first one last.
fn behind(bridges: &[Bridge], bus: u32) -> Vec<u32> {
    let first = bridges.partition_point(|bridge| bridge.0 < bus);
    let on_it = bridges.iter().skip(first).take_while(|bridge| bridge.0 == bus);
    let mut indices: Vec<u32> = on_it.map(|bridge| bridge.3).collect();
    indices.reverse();
    indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_first() {
        // As QEMU 7.2 with SeaBIOS numbered them (query-pci): the bridge behind the first port comes second.
        let bridges = [(0, 2, 0, 1), (0, 2, 1, 2), (0, 2, 2, 4), (0, 2, 3, 5), (1, 0, 0, 3)];
        assert_eq!(numbered(&bridges), BTreeMap::from([(0, 0), (1, 1), (3, 2), (2, 3), (4, 4), (5, 5)]));
    }

    #[test]
    fn circles_and_twins_end() {
        assert_eq!(numbered(&[(0, 1, 0, 0), (0, 1, 0, 1), (1, 0, 0, 1)]), BTreeMap::from([(0, 0), (1, 1)]));
        assert_eq!(
            numbered(&[(1, 0, 0, 2), (2, 0, 0, 1)]),
            BTreeMap::from([(0, 0)]),
            "not reached from the root"
        );
    }
}
