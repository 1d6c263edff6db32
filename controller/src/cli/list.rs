//! `trimtab list`: reads the inventory file, asks libvirt for its domains, and nothing else.

use super::{
    args::{Global, Selection},
    exit,
    output::Output,
    vms,
};
use crate::{
    model::{trouble::Trouble, vm::Vm},
    render::{json::list::ListDocument, list},
    trim::outcome::{Weight, weight_of},
};

pub(super) async fn run(global: &Global, selection: &Selection, output: &Output) -> Result<u8, Trouble> {
    let known = vms::load(global, None).await?;
    let vms = known.select(selection).await?;
    // A source that cannot be read weighs as a VM that gives no answer does.
    let weight = |vm: &Vm| vm.not_read.as_ref().map_or(Weight::Good, weight_of);
    let exit = exit::code(&vms.iter().map(weight).collect::<Vec<_>>());
    output.result(&ListDocument::new(&vms, exit), || match vms.is_empty() {
        true => {
            "no VM is known here: libvirt has no domain or was not asked, and no inventory file names one\n"
                .to_owned()
        }
        false => list::table(&vms),
    });
    Ok(exit)
}
