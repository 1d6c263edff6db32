//! Which store a command means, and how it is opened.

use crate::{
    campaign::store::{any::AnyStore, at::At},
    cli::{
        args::{Global, campaign::StoreArgs},
        vms,
    },
    config::{Config, Flags},
    model::trouble::Trouble,
};

/// Opened to change it; a file is made where there is none.
pub(in crate::cli) async fn to_write(config: &Config) -> Result<AnyStore, Trouble> {
    AnyStore::open(&config.store).await
}

/// Opened to read it, which needs no right to write a file.
pub(super) async fn to_read(global: &Global, args: &StoreArgs) -> Result<AnyStore, Trouble> {
    AnyStore::open_to_read(&config(global, args)?.store).await
}

/// What is in force for a command about campaigns.
pub(in crate::cli) fn config(global: &Global, args: &StoreArgs) -> Result<Config, Trouble> {
    let config = Config::load(Flags { store: args.store.clone(), ..vms::flags(global) })?;
    warn_of_password(args, &config.store);
    Ok(config)
}

/// Everybody on this host reads the words of a command in `ps`.
fn warn_of_password(args: &StoreArgs, at: &At) {
    if let At::Database(url) = at
        && args.store.is_some()
        && url.has_password()
    {
        use std::io::Write;
        let text = "trimtab: note: others on this host can read a password in --store: say passfile= there, or TRIMTAB_STORE";
        let _ = writeln!(anstream::stderr(), "{text}");
    }
}
