//! What a fleet's hosts are called, as they say themselves.

use std::time::Duration;

use super::{Connection, fault::Fault, words::unsigned};
use crate::campaign::{account::SILENT_AFTER, hosts::HostNames};

/// What hosts are called. Each says it of itself: a name that two have is shown with their machine ids.
pub(super) async fn names(db: &mut Connection) -> Result<HostNames, Fault> {
    let names: Vec<(String, String)> =
        sqlx::query_as("SELECT host, called(about) FROM published_host ORDER BY host").fetch_all(db).await?;
    Ok(HostNames::of(names.iter().map(|(host, name)| (host.as_str(), name.as_str()))))
}

/// For how long a worker that is there may be silent.
pub(super) async fn silent_after(db: &mut Connection) -> Result<Duration, Fault> {
    let lease: i64 = sqlx::query_scalar("SELECT lease FROM store").fetch_one(db).await?;
    Ok(Duration::from_micros(unsigned(lease)).max(SILENT_AFTER))
}
