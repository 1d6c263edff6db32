//! `trimtab campaign plan`: surveys, and writes a plan. Nothing is trimmed.

use std::{fs::OpenOptions, io::Write, path::Path};

use jiff::Timestamp;

use crate::{
    campaign::{
        limits::Limits,
        plan::{
            Plan,
            build::{Known, Seen, Wishes, build},
            write,
        },
        store::{Store, any::AnyStore},
        window::{DEFAULT_WEEKS, Window},
    },
    cli::{
        args::{
            Global, Selection,
            campaign::{LimitArgs, PlanArgs, StoreArgs},
        },
        exit,
        output::Output,
        survey, vms,
    },
    config::{Config, Flags},
    host,
    model::{
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    render::{campaign::plan::summary, json::plan::PlanDocument, progress::Progress},
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
    let flags = Flags { parallel: args.parallel, store: store.store.clone(), ..vms::flags(global) };
    let known = vms::load_with(global, flags).await?.with_neighbours();
    let wishes = wishes(args, &known.config, Timestamp::now())?;
    let (excluded, taken) = select(&known, args).await?;
    known.warn_of_taint(&taken, *output);
    let remembered = AnyStore::open_to_read(&known.config.store).await?.vms().await?;
    let progress = Progress::new(global.quiet || output.wants_events());
    let looks = survey::look_at(&known, taken.clone(), &progress).await;
    let seen: Vec<Seen> = taken.into_iter().zip(looks).map(|(vm, (_, look))| (vm, look)).collect();
    let here = Known {
        host: &host::id(),
        now: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
        datastores: &known.config.datastores,
        remembered: &remembered,
    };
    let plan = build(&seen, &excluded, &wishes, &here);
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
fn wishes(args: &PlanArgs, config: &Config, now: Timestamp) -> Result<Wishes, Trouble> {
    let usage = |text: String| Trouble::new(Kind::Usage, text);
    let windows = args
        .limits
        .windows
        .iter()
        .map(|text| text.parse::<Window>().map_err(|error| usage(format!("--window: {error}"))));
    if let Some(gate) =
        args.limits.gates.iter().find(|name| !config.gates.iter().any(|gate| gate.name == **name))
    {
        let text = format!("--gate: no [[gate]] of trimtab.toml on this host is called {gate:?}");
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

/// Those that are excluded, and those that take part. Terms that exclude nobody are a slip of the finger.
async fn select(known: &vms::Known, args: &PlanArgs) -> Result<(Vec<Vm>, Vec<Vm>), Trouble> {
    let all = known.select(&args.selection).await?;
    let mut excluded: Vec<String> = Vec::new();
    for terms in &args.exclude {
        let fitting = known.select(&Selection { vms: Vec::new(), select: Some(terms.clone()) }).await?;
        if fitting.is_empty() {
            return Err(Trouble::new(Kind::Usage, format!("--exclude {terms:?} fits no VM"))
                .hint("terms are those of --select; `trimtab list` shows names and labels"));
        }
        excluded.extend(fitting.into_iter().map(|vm| vm.name));
    }
    Ok(all.into_iter().partition(|vm| excluded.contains(&vm.name)))
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
