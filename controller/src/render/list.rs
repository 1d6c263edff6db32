//! `trimtab list`.

use comfy_table::{Table, presets::NOTHING};

use crate::{
    guest::text::safe,
    model::{endpoint::Endpoint, vm::Vm},
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

/// VMs and how each is reached.
pub fn table(vms: &[Vm]) -> String {
    let mut table = plain_table(&["VM", "AGENT", "QMP", "DISKS", "LABELS"]);
    for vm in vms {
        let disks: Vec<String> =
            vm.disks.iter().map(|disk| safe(&disk.image.path.display().to_string())).collect();
        table.add_row([
            vm.name.clone(),
            vm.agent.as_ref().map_or_else(|| "-".to_owned(), Endpoint::to_string),
            vm.qmp.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string()),
            match (disks.is_empty(), vm.qmp.is_some()) {
                (true, true) => "from QMP".to_owned(),
                (true, false) => "-".to_owned(),
                (false, _) => disks.join(", "),
            },
            vm.labels.join(", "),
        ]);
    }
    printed(&table)
}
