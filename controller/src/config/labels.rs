//! `[labels]`: what labels trimtab.toml adds to VMs, by name or pattern. Pure.

use globset::GlobMatcher;

use crate::model::vm::Vm;

/// Patterns with the labels of what fits them.
#[derive(Clone, Debug, Default)]
pub struct Labels(pub(super) Vec<(GlobMatcher, Vec<String>)>);

impl Labels {
    /// Adds to each VM what the patterns say that its name fits; each label once.
    pub fn add_to(&self, vms: &mut [Vm]) {
        for vm in vms {
            let fitting = self.0.iter().filter(|(pattern, _)| pattern.is_match(&vm.name));
            for label in fitting.flat_map(|(_, labels)| labels) {
                if !vm.labels.contains(label) {
                    vm.labels.push(label.clone());
                }
            }
        }
    }
}
