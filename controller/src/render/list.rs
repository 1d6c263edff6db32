//! `trimtab list`.

use std::path::Path;

use comfy_table::{Table, presets::NOTHING};

use crate::{
    guest::text::safe,
    model::{
        disk::{Link, VmState},
        endpoint::{Endpoint, Port},
        vm::Vm,
    },
};

/// A table without lines, its columns two spaces apart.
pub(super) fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.to_vec());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// What a table prints, without the spaces at its lines' ends.
pub(super) fn printed(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// VMs and how each is reached; below them the sources that could not be read.
pub fn table(vms: &[Vm]) -> String {
    let mut table = plain_table(&["VM", "STATE", "AGENT", "QMP", "DISKS", "LABELS"]);
    let (known, missing): (Vec<&Vm>, Vec<&Vm>) = vms.iter().partition(|vm| vm.not_read.is_none());
    for vm in &known {
        table.add_row([
            vm.name.clone(),
            safe(state(vm)),
            agent(vm),
            vm.qmp.as_ref().map_or_else(|| "-".to_owned(), |path| safe(&path.display().to_string())),
            disks(vm),
            vm.labels.join(", "),
        ]);
    }
    let mut out = if known.is_empty() { String::new() } else { printed(&table) };
    for trouble in missing.iter().filter_map(|vm| vm.not_read.as_ref()) {
        out.push_str(&super::error::for_person("not read", trouble));
        out.push('\n');
    }
    out
}

/// libvirt's word; the inventory file knows none.
fn state(vm: &Vm) -> &str {
    match vm.domain.as_ref().map(|domain| &domain.state) {
        Some(Some(VmState::Running)) => "running",
        Some(Some(VmState::Stopped(why))) => why,
        Some(Some(VmState::Off)) => "off",
        Some(None) => "?",
        None => "-",
    }
}

/// The file's word, else the domain's vsock device.
fn agent(vm: &Vm) -> String {
    match (&vm.agent, vm.domain.as_ref().map(|domain| domain.link)) {
        (Some(endpoint), _) => safe(&endpoint.to_string()),
        (None, Some(Link::Vsock(Some(cid)))) => Endpoint::Vsock { cid, port: Port::AGENT }.to_string(),
        (None, Some(Link::Vsock(None))) => "vsock".to_owned(),
        (None, Some(Link::Missing)) => "no vsock device".to_owned(),
        (None, Some(Link::Unknown) | None) => "-".to_owned(),
    }
}

/// The images' names: libvirt's, else the file's.
fn disks(vm: &Vm) -> String {
    let said = vm.domain.iter().flat_map(|domain| &domain.disks).map(|disk| match &disk.image {
        Some(image) => file_name(&image.path),
        None => format!("({})", safe(&disk.protocol)),
    });
    let declared = vm.disks.iter().map(|disk| file_name(&disk.image.path));
    let names: Vec<String> = if vm.domain.is_some() { said.collect() } else { declared.collect() };
    match (names.as_slice(), vm.qmp.is_some()) {
        ([], true) => "from QMP".to_owned(),
        ([], false) => "-".to_owned(),
        ([one], _) => one.clone(),
        ([first, rest @ ..], _) => format!("{first} +{}", rest.len()),
    }
}

fn file_name(path: &Path) -> String {
    safe(&path.file_name().unwrap_or(path.as_os_str()).display().to_string())
}

#[cfg(test)]
mod tests;
