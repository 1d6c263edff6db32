//! `trimtab campaign plan`: surveys, or reads what a fleet's hosts published, and writes a plan. Nothing is trimmed.

use std::{collections::BTreeSet, fs::OpenOptions, io::Write, path::Path};

use jiff::Timestamp;

use super::{store, views};
use crate::{
    campaign::{
        limits::Limits,
        plan::{
            Plan,
            build::{Known, Wishes, build},
            write,
        },
        store::{Store, any::AnyStore},
        window::{DEFAULT_WEEKS, Window},
    },
    cli::{
        args::{
            Global,
            campaign::{LimitArgs, PlanArgs, StoreArgs},
        },
        exit,
        output::Output,
        vms,
    },
    config::Flags,
    model::trouble::{Kind, Trouble},
    render::{campaign::plan::summary, json::plan::PlanDocument},
};

/// Written to stdout.
const STDOUT: &str = "-";

pub(super) async fn run(
    global: &Global,
    store: &StoreArgs,
    args: &PlanArgs,
    output: &Output,
) -> Result<u8, Trouble> {
    let to_stdout = args.output == Path::new(STDOUT);
    if to_stdout && (global.json || global.events) {
        return Err(Trouble::new(Kind::Usage, "-o - and --json both write to stdout")
            .hint("write the plan to a file: -o plan.toml"));
    }
    if !to_stdout && !args.force && args.output.exists() {
        return Err(is_there(&args.output));
    }
    let config = store::config(global, store)?;
    let opened = AnyStore::open_to_read(&config.store).await?;
    let fleet = views::fleet(&opened, args, output).await?;
    let is_fleet = fleet.is_some();
    let local: BTreeSet<String> = config.gates.iter().map(|gate| gate.name.clone()).collect();
    let gates = fleet.as_ref().map_or(&local, |(_, gates)| gates);
    let now = opened.now().await?;
    let wishes = wishes(args, gates, now)?;
    let (hosts, left_out) = match fleet {
        Some((views, _)) => views,
        None => {
            let flags = Flags { parallel: args.parallel, store: store.store.clone(), ..vms::flags(global) };
            let known = vms::load_with(global, flags).await?.with_neighbours();
            views::here(global, known, args, output).await?
        }
    };
    let known = Known {
        now: Timestamp::from_second(now.as_second()).unwrap_or_default(),
        remembered: &opened.vms().await?,
        spared: &views::spared(&config),
    };
    let plan = build(&hosts, is_fleet, left_out, &wishes, &known);
    show(&plan, args, to_stdout, output)
}

fn show(plan: &Plan, args: &PlanArgs, to_stdout: bool, output: &Output) -> Result<u8, Trouble> {
    let text = write::text(plan);
    let exit = if plan.vms.is_empty() { exit::ALL } else { exit::OK };
    let file = args.output.display().to_string();
    let document = PlanDocument::new(plan, &file, exit);
    if to_stdout {
        let _ = write!(anstream::stderr(), "{}", summary(plan, "FILE"));
        output.result(&document, || text);
    } else {
        save(&args.output, &text, args.force)?;
        output.result(&document, || summary(plan, &file));
    }
    Ok(exit)
}

/// What the options say, checked before anything is looked at.
fn wishes(args: &PlanArgs, gates: &BTreeSet<String>, now: Timestamp) -> Result<Wishes, Trouble> {
    let usage = |text: String| Trouble::new(Kind::Usage, text);
    let windows = args
        .limits
        .windows
        .iter()
        .map(|text| text.parse::<Window>().map_err(|error| usage(format!("--window: {error}"))));
    if let Some(gate) = args.limits.gates.iter().find(|name| !gates.contains(*name)) {
        let text = format!("--gate: no [[gate]] of trimtab.toml on each of the hosts is called {gate:?}");
        return Err(usage(text).hint("docs/usage/campaigns.md says how one is defined"));
    }
    let name = args.name.clone().unwrap_or_else(|| now.strftime("%Y-%m-%d").to_string());
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(usage("--name: is empty or has control characters".to_owned()));
    }
    Ok(Wishes {
        name,
        limits: limits(&args.limits),
        windows: windows.collect::<Result<_, _>>()?,
        window_weeks: DEFAULT_WEEKS,
        include_set_aside: args.include_set_aside,
        named: args.selection.vms.iter().cloned().collect(),
    })
}

fn limits(args: &LimitArgs) -> Limits {
    let default = Limits::default();
    Limits {
        at_once: args.at_once.unwrap_or(default.at_once),
        per_datastore: args.per_datastore.unwrap_or(default.per_datastore),
        per_host: args.per_host,
        failure_budget: args.failure_budget.unwrap_or(default.failure_budget),
        strict: args.strict,
        gates: args.gates.clone(),
        pace: args.pace.map(Into::into),
        deadline_secs: args.deadline.map_or(default.deadline_secs, |deadline| deadline.as_secs()),
        ..default
    }
}

fn is_there(path: &Path) -> Trouble {
    Trouble::new(Kind::Usage, format!("{} is there already", path.display()))
        .hint("write another file, or say --force to write over it")
}

fn save(path: &Path, text: &str, force: bool) -> Result<(), Trouble> {
    let mut options = OpenOptions::new();
    options.write(true);
    match force {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => is_there(path),
        _ => Trouble::new(Kind::Config, format!("cannot write {}: {error}", path.display()))
            .hint("name a file that can be written with -o, or - for stdout"),
    })
}
