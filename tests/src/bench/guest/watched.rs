//! The host's side of the witness.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::contender::Cost;
use super::ground::Ground;
use super::witness::{self, Testimony};
use crate::guest::Guest;

/// Where the witness writes, in the guest.
const TESTIMONY: &str = "/run/witness.json";

/// A trim's end and the wait after it.
const WITNESS_LIMIT: Duration = Duration::from_secs(120);

/// Has the witness watch a trim of these, with or without a writer on the first.
pub(super) fn watched(
    guest: &Guest,
    grounds: &[&Ground<'_>],
    writes: bool,
    trim: impl FnOnce() -> Result<Cost>,
) -> Result<(Testimony, Cost)> {
    let writes_on = grounds.first().filter(|_| writes).map_or("-", |ground| ground.mount.as_str());
    let devices: Vec<&str> = grounds.iter().map(|ground| ground.device()).collect();
    let [go, ended] =
        ["go", "ended"].map(|word| witness::beside(Path::new(TESTIMONY), word).display().to_string());
    guest.sh(&format!(
        "rm -f {TESTIMONY} {go} {ended}
         bench-witness watch {writes_on} {TESTIMONY} {} </dev/null >/run/witness.log 2>&1 & echo $! >/run/witness.pid
         while ! [ -e {go} ]; do kill -0 $(cat /run/witness.pid); sleep 0.2; done",
        devices.join(" ")
    ))?;
    let cost = trim()?;
    let wait = format!(
        ">{ended}
         while ! [ -e {TESTIMONY} ]; do
             kill -0 $(cat /run/witness.pid) 2>/dev/null || [ -e {TESTIMONY} ] || {{ cat /run/witness.log >&2; exit 1; }}
             sleep 0.2
         done
         cat {TESTIMONY}"
    );
    Ok((serde_json::from_str(&guest.sh_within(&wait, WITNESS_LIMIT)?)?, cost))
}
