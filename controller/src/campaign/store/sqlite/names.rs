//! What a host's own store knows of hosts: itself.

use std::time::Duration;

use super::{Connection, fault::Fault};
use crate::{
    campaign::{account::SILENT_AFTER, hosts::HostNames},
    host,
};

/// What hosts are called.
pub(super) async fn names(_: &mut Connection) -> Result<HostNames, Fault> {
    Ok(HostNames::of([(host::id().as_str(), host::name().as_str())]))
}

/// For how long a worker that is there may be silent.
pub(super) async fn silent_after(_: &mut Connection) -> Result<Duration, Fault> {
    Ok(SILENT_AFTER)
}
