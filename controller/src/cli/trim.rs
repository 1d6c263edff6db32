//! `trimtab trim`: the first caller of a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    args::{Global, TrimArgs},
    exit, interrupt, journal,
    output::Output,
    survey,
    vms::{self, Reached},
};
use crate::{
    model::{
        trouble::{Kind, Trouble},
        vm::Vm,
    },
    render::{events::EventLine, json::trim::TrimDocument, ledger, progress::Progress},
    trim::{
        event::TurnEvent,
        many::side_by_side,
        options::TrimOptions,
        outcome::{TurnOutcome, Weight, weight_of},
        turn::turn,
        wish::{Wish, no_pause},
    },
};

pub(super) async fn run(global: &Global, args: &TrimArgs, output: &Output) -> Result<u8, Trouble> {
    if args.selection.vms.is_empty() && args.selection.select.is_none() && !args.all {
        return Err(Trouble::new(Kind::Usage, "trim needs to be told which VMs")
            .hint("name them (trimtab trim web-12), select them (--select label=prod), or say --all"));
    }
    let known = vms::load(global, args.parallel).await?.with_neighbours();
    let vms = known.select(&args.selection).await?;
    known.warn_of_taint(&vms, *output);
    let parallel = known.parallel();
    let progress = Progress::new(global.quiet || output.wants_events());
    if args.dry_run {
        let seen = survey::look_at(&known, vms, &progress).await;
        return Ok(survey::show(&seen, output));
    }
    let shown = progress.clone();
    let wishes = interrupt::steers(move |wish| shown.note(answer(wish)))?;
    let (started, clock) = (jiff::Timestamp::now(), Instant::now());
    let names: Vec<String> = vms.iter().map(|vm| vm.name.clone()).collect();
    let alone = vms.len() == 1;
    let options = Arc::new(args.options());
    let output_of_events = *output;
    let turns = side_by_side(vms, parallel, |vm| {
        let (options, progress, mut wishes) = (Arc::clone(&options), progress.clone(), wishes.clone());
        let reached = known.reach(&vm);
        async move {
            if no_pause(&mut wishes).await == Wish::Cancel {
                return Err(Trouble::new(Kind::Interrupted, "not begun: the command was interrupted"));
            }
            let result = one(&vm, &reached, &options, alone, output_of_events, &progress, wishes).await;
            progress.done(&vm.name);
            journal::line(&vm.name, &options.anyway, &result);
            result
        }
    })
    .await;
    let results: Vec<(String, Result<TurnOutcome, Trouble>)> = names.into_iter().zip(turns).collect();
    let exit = exit_code(&results, *wishes.borrow() == Wish::Cancel);
    let took = clock.elapsed();
    output.result(&TrimDocument::new(&results, started, took, exit), || screen(&results, took, exit));
    Ok(exit)
}

/// To a person who wants this.
fn answer(wish: Wish) -> &'static str {
    match wish {
        Wish::Pause => "pausing; Ctrl-Z once more goes on, Ctrl-C ends it with its account",
        Wish::Go => "going on",
        Wish::Cancel => "cancelling; what came back is still accounted for (once more to leave at once)",
    }
}

async fn one(
    vm: &Vm,
    reached: &Reached,
    options: &TrimOptions,
    alone: bool,
    output: Output,
    progress: &Progress,
    wishes: tokio::sync::watch::Receiver<Wish>,
) -> Result<TurnOutcome, Trouble> {
    let listener = |event: TurnEvent| {
        progress.show(&vm.name, &event);
        if output.wants_events() {
            output.line(&EventLine::new(&vm.name, event, jiff::Timestamp::now()));
        }
    };
    turn(&reached.parts(), options, alone, &listener, wishes).await
}

fn exit_code(results: &[(String, Result<TurnOutcome, Trouble>)], interrupted: bool) -> u8 {
    let misnamed = |trouble: &Trouble| trouble.kind == Kind::Usage;
    match interrupted {
        true => exit::INTERRUPTED,
        // A disk or mount point that no VM has: nothing was begun anywhere.
        false if !results.is_empty() && results.iter().all(|(_, r)| r.as_ref().is_err_and(misnamed)) => {
            exit::USAGE
        }
        false => exit::code(&weights(results)),
    }
}

/// One weight for each disk; a VM without an outcome, or whose run has no report, counts as one more.
fn weights(results: &[(String, Result<TurnOutcome, Trouble>)]) -> Vec<Weight> {
    results
        .iter()
        .flat_map(|(_, result)| match result {
            Ok(outcome) => {
                let mut weights: Vec<Weight> = outcome.disks.iter().map(|disk| disk.weight()).collect();
                weights.extend(outcome.trouble.as_ref().map(weight_of));
                weights.extend(outcome.unpaired_guest_disks.iter().map(|_| Weight::Bad));
                weights
            }
            Err(trouble) => vec![weight_of(trouble)],
        })
        .collect()
}

fn screen(results: &[(String, Result<TurnOutcome, Trouble>)], took: Duration, exit: u8) -> String {
    let vms: String = results.iter().map(|(name, result)| ledger::vm(name, result)).collect();
    format!("{vms}{}\n{}", ledger::sum(results, took, exit), ledger::datastores(results))
}
