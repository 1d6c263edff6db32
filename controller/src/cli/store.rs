//! `trimtab store`: sets a fleet's database up, lets hosts in, and shuts them out.

use super::{
    args::{
        Global,
        store::{GrantArgs, InitArgs, StoreCommand, StoreCommandArgs},
    },
    campaign::store::config,
    exit,
    output::Output,
};
use crate::{
    campaign::store::{
        at::At,
        postgres::{Done, Terms, grant, init, revoke, url::DatabaseUrl},
    },
    guest::text::safe,
    model::trouble::{Kind, Trouble},
    render::json::store::StoreDocument,
};

/// An agent whose caller is gone stops within 36 s.
const AGENTS_STOP_SECS: u64 = 40;

pub(super) async fn run(global: &Global, args: &StoreCommandArgs, output: &Output) -> Result<u8, Trouble> {
    let url = match config(global, &args.store)?.store {
        At::Database(url) => url,
        At::File(path) => {
            let text = format!("{} is a file, which needs no setting up", path.display());
            return Err(Trouble::new(Kind::Usage, text)
                .hint("name a database: --store postgres://ROLE@HOST/DATABASE, or TRIMTAB_STORE"));
        }
    };
    let done = match &args.command {
        StoreCommand::Init(args) => set_up(&url, args, output).await?,
        StoreCommand::Grant(args) => let_in(&url, args).await?,
        StoreCommand::Revoke(args) => revoke(url.as_str(), &args.host, args.forget).await?,
    };
    let schema = format!("trimtab.{}/1", args.command.verb());
    output.result(&StoreDocument::new(schema, &done), || {
        let lines = std::iter::once(&done.store).chain(&done.said);
        lines.map(|line| format!("{}\n", safe(line))).collect()
    });
    Ok(exit::OK)
}

async fn set_up(url: &DatabaseUrl, args: &InitArgs, output: &Output) -> Result<Done, Trouble> {
    let terms = args.lease.map(|lease| Terms { lease });
    let done = init(url.as_str(), terms).await?;
    if args.lease.is_some_and(|lease| lease.as_secs() < AGENTS_STOP_SECS) {
        output.note(&format!(
            "a lease of less than {AGENTS_STOP_SECS} s: a guest whose worker is gone may still trim when another worker \
             begins, so that for some seconds more may run on a datastore than its cap allows"
        ));
    }
    Ok(done)
}

async fn let_in(url: &DatabaseUrl, args: &GrantArgs) -> Result<Done, Trouble> {
    let role = args.role.clone().unwrap_or_else(|| format!("trimtab-{}", args.host));
    grant(url.as_str(), &args.host, &role).await
}
