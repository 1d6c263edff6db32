//! `trimtab campaign list`: a line for each campaign, newest first.

use comfy_table::CellAlignment;

use super::words::{at, state};
use crate::{
    campaign::account::Summary,
    guest::text::safe_within,
    render::{
        list::{plain_table, printed},
        size::iec_signed,
    },
};

/// The columns that a name may take.
const NAME: usize = 24;

/// The table, or what to do where there is none.
pub fn table(campaigns: &[Summary]) -> String {
    if campaigns.is_empty() {
        return "no campaign yet: trimtab campaign plan -o plan.toml writes one down, apply starts it\n"
            .to_owned();
    }
    let mut table = plain_table(&["ID", "NAME", "STATE", "APPLIED", "VMS", "DONE", "RUNNING", "FREED"]);
    for campaign in campaigns {
        let done = campaign.total.saturating_sub(campaign.waiting).saturating_sub(campaign.running);
        table.add_row([
            campaign.id.to_string(),
            safe_within(&campaign.name, NAME),
            state(campaign.state).to_owned(),
            at(campaign.applied),
            campaign.total.to_string(),
            done.to_string(),
            campaign.running.to_string(),
            iec_signed(campaign.freed_bytes),
        ]);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    printed(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{COLUMNS, campaign::samples};

    #[test]
    fn a_line_each() {
        let long = Summary { name: "n".repeat(200), ..samples::summary() };
        let screen = table(&[samples::summary(), long]);
        assert!(screen.lines().all(|line| line.chars().count() <= COLUMNS), "{screen}");
        let row: Vec<&str> = screen.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = "7 nightly active 2026-11-21 22:00 UTC 120 31 4 812.4 GiB";
        assert_eq!(row.join(" "), expected, "{screen}");
        assert!(table(&[]).contains("campaign plan"));
    }
}
