//! Every trim leaves a line in the host's journal: who, which VM, what came back. A host without a journal goes
//! without.

use nix::unistd::{User, getuid};
use tracing_subscriber::layer::SubscriberExt;

use crate::{guest::text::safe, layers::Layer, model::trouble::Trouble, trim::outcome::TurnOutcome};

/// Writes one VM's line.
pub(super) fn line(vm: &str, anyway: &[Layer], result: &Result<TurnOutcome, Trouble>) {
    let Ok(journal) = tracing_journald::layer() else { return };
    let subscriber =
        tracing_subscriber::registry().with(journal.with_syslog_identifier("trimtab".to_owned()));
    let overridden: Vec<&str> = anyway.iter().map(|layer| layer.as_str()).collect();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(
            vm,
            user = who(),
            anyway = overridden.join(","),
            "trim of {vm} by {}: {}",
            who(),
            what_came_of_it(result)
        );
    });
}

fn what_came_of_it(result: &Result<TurnOutcome, Trouble>) -> String {
    match result {
        Ok(outcome) => {
            let disks: Vec<String> = outcome
                .disks
                .iter()
                .map(|disk| {
                    let name = disk.guest_disk.as_deref().unwrap_or(disk.host.name());
                    let freed =
                        disk.ledger.freed_bytes.map_or_else(|| "unknown".to_owned(), |b| b.to_string());
                    format!("{} {} freed {freed} bytes", safe(name), disk.ruling.verdict.as_str())
                })
                .collect();
            disks.join("; ")
        }
        Err(trouble) => safe(&trouble.text),
    }
}

/// The person behind sudo, else the user that runs this.
pub(super) fn who() -> String {
    std::env::var("SUDO_USER")
        .ok()
        .filter(|name| !name.is_empty())
        .or_else(|| User::from_uid(getuid()).ok().flatten().map(|user| user.name))
        .unwrap_or_else(|| getuid().to_string())
}
