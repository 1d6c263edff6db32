//! Which store a command means, and how it is opened.

use crate::{
    campaign::store::sqlite::SqliteStore,
    cli::{
        args::{Global, campaign::StoreArgs},
        vms,
    },
    config::{Config, Flags},
    model::trouble::Trouble,
};

/// Opened to change it; made where there is none.
pub(in crate::cli) async fn to_write(config: &Config) -> Result<SqliteStore, Trouble> {
    SqliteStore::open(&config.store).await
}

/// Opened to read it, which needs no right to write.
pub(super) async fn to_read(global: &Global, args: &StoreArgs) -> Result<SqliteStore, Trouble> {
    SqliteStore::open_to_read(&config(global, args)?.store).await
}

/// What is in force for a command about campaigns.
pub(in crate::cli) fn config(global: &Global, args: &StoreArgs) -> Result<Config, Trouble> {
    Config::load(Flags { store: args.store.clone(), ..vms::flags(global) })
}
