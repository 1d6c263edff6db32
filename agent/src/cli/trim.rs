//! `trimtab-agent trim`: a trim by hand, without any host. The same engine as behind `serve`, under the same lock.
//!
//! Exit codes are fstrim's own where fstrim has one: 0 all good, 32 all failed, 64 some failed; 75 another trim is
//! under way; 130 interrupted; 1 and 2 as everywhere.

mod json;
mod order;
mod people;
mod progress;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{libc, sys::signal};
use tokio::{
    signal::unix::{self, Signal, SignalKind},
    time,
};
use trimtab_proto::words::{Action, FilesystemState, Pace, StopReason, Word};

use self::progress::Shown;
use super::serve;
use crate::{
    config::Config,
    model::Survey,
    runs::Runs,
    surveyor::Surveyor,
    sys::Roots,
    trim::{
        Engine, Feed, Refused,
        report::{Order, RunReport, What},
    },
};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// How much of the disk it may take: gentle, steady or full [default: trim.pace of agent.toml, steady]
    #[arg(long, value_parser = pace, value_name = "PACE")]
    pace: Option<Pace>,
    /// Leave free extents below this size alone: 64K, 1M [default: what the disk can discard]
    #[arg(long, value_parser = order::size, default_value = "0", hide_default_value = true, value_name = "SIZE")]
    min_extent: u64,
    /// Make ext4 look again at what it remembers as trimmed
    #[arg(long)]
    again: bool,
    /// Say what would be done and how much is free; trim nothing
    #[arg(long)]
    dry_run: bool,
    /// End after this: 90s, 10m, 2h
    #[arg(long, value_parser = order::duration, value_name = "DURATION")]
    deadline: Option<Duration>,
    /// One JSON document: "schema": "trimtab-agent.trim/1"
    #[arg(long)]
    json: bool,
    /// One JSON object a line for each event; the document of --json ends it
    #[arg(long)]
    events: bool,
    /// Mount points; none: all that `survey` does not leave out
    #[arg(value_name = "MOUNT")]
    mounts: Vec<std::path::PathBuf>,
}

fn pace(text: &str) -> Result<Pace, String> {
    Pace::ALL
        .iter()
        .copied()
        .find(|pace| pace.as_str() == text)
        .ok_or_else(|| "gentle, steady or full".to_owned())
}

/// Something that the person asked for cannot be had; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(String);

/// How it ended.
const ALL_FAILED: u8 = 32;
const SOME_FAILED: u8 = 64;
const BUSY: u8 = 75;
const INTERRUPTED: u8 = 130;

pub(super) fn run(args: &Args, roots: &Roots, config: &Config, quiet: bool) -> anyhow::Result<ExitCode> {
    let runtime = serve::runtime()?;
    let done = runtime.block_on(trim(args, roots, config, quiet));
    runtime.shutdown_background();
    done
}

async fn trim(args: &Args, roots: &Roots, config: &Config, quiet: bool) -> anyhow::Result<ExitCode> {
    let surveyor = Surveyor::new(roots.clone(), config.policy());
    let survey = surveyor.survey(&[]).await.map_err(anyhow::Error::msg)?;
    let targets = order::targets(&args.mounts, &survey, roots, args.min_extent)?;
    let pace = args.pace.unwrap_or(config.trim.pace);
    let order = Order {
        run_id: order::run_id(roots)?,
        targets,
        min_extent: args.min_extent,
        pace,
        deadline: args.deadline,
        linger: Duration::ZERO,
        again: args.again,
        also_types: Vec::new(),
    };
    if args.dry_run {
        let text = if args.json || args.events {
            json::dry_run(&order, &survey)?
        } else {
            people::dry_run(&order, &survey)
        };
        super::put(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (engine, _) = serve::engine(roots, Runs::in_memory)?;
    let mut signals = Signals::new()?;
    let feed = match engine.trim(order, 0, async { Ok(survey.clone()) }).await {
        Ok(feed) => feed,
        Err(refused) => return refuse(args, &refused),
    };
    let mut progress = Shown::new(quiet);
    let Some(report) = follow(args, feed, &engine, &survey, &mut signals, &mut progress).await? else {
        return Ok(ExitCode::from(INTERRUPTED));
    };
    progress.clear();
    let code = code(&report);
    let text = if args.events {
        json::line(&json::document(&report, &survey, code))?
    } else if args.json {
        json::page(&json::document(&report, &survey, code))?
    } else {
        people::page(&report, &survey)
    };
    super::put(&text)?;
    Ok(ExitCode::from(code))
}

/// Shows the run until its end. `None`: interrupted a second time, while the kernel held a worker.
async fn follow(
    args: &Args,
    mut feed: Feed,
    engine: &Engine,
    survey: &Survey,
    signals: &mut Signals,
    progress: &mut Shown,
) -> anyhow::Result<Option<RunReport>> {
    let mut stopping = false;
    let mut put_away_at = None;
    loop {
        tokio::select! {
            event = feed.next() => {
                let event = event.context("the run broke off")?;
                if args.events && !matches!(event.what, What::End(_)) {
                    super::put(&json::line(&json::event(&event, survey))?)?;
                }
                progress.show(&event, survey);
                if let What::End(report) = event.what {
                    return Ok(Some(report));
                }
            }
            signal = signals.next() => match signal {
                Told::End if stopping => {
                    tracing::warn!("the kernel holds a worker in FITRIM; not waiting for it");
                    return Ok(None);
                }
                Told::End => {
                    stopping = true;
                    engine.stop(StopReason::Cancelled);
                }
                Told::PutAway => {
                    engine.steer_active(Action::Pause);
                    put_away_at = Instant::now().checked_add(PUT_AWAY_AFTER);
                }
            },
            () = at(put_away_at) => {
                put_away_at = None;
                progress.say("paused; `fg` goes on with it, and Ctrl-C then ends it");
                // Whoever sends SIGCONT, a shell's `fg` or `kill -CONT`, brings it back to this line.
                signal::raise(signal::Signal::SIGSTOP)?;
                engine.steer_active(Action::Resume);
            }
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

/// Between Ctrl-Z and the shell's prompt: a call that is under way is ended before (half a second, `trim/calls.rs`), since
/// nobody could end it while this process is stopped.
const PUT_AWAY_AFTER: Duration = Duration::from_millis(700);

/// What a person wants.
enum Told {
    End,
    PutAway,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    put_away: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind, name| unix::signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            put_away: listen(SignalKind::from_raw(libc::SIGTSTP), "SIGTSTP")?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.put_away.recv() => Told::PutAway,
        }
    }
}

/// Nothing was begun.
fn refuse(args: &Args, refused: &Refused) -> anyhow::Result<ExitCode> {
    let code = match refused {
        Refused::Busy { .. } => BUSY,
        _ => 1,
    };
    if args.events {
        super::put(&json::line(&json::refused(refused, code))?)?;
    } else if args.json {
        super::put(&json::page(&json::refused(refused, code))?)?;
    } else {
        tracing::error!("{refused}{}", people::since(refused));
    }
    Ok(ExitCode::from(code))
}

/// How a run counts. A filesystem that was left out for a good reason counts as neither.
fn code(report: &RunReport) -> u8 {
    if report.stop == Some(StopReason::Cancelled) {
        return INTERRUPTED;
    }
    let count = |states: &[FilesystemState]| {
        report.filesystems.iter().filter(|run| states.contains(&run.state)).count()
    };
    let bad = count(&[FilesystemState::Failed, FilesystemState::Partial]);
    match (bad, count(&[FilesystemState::Done])) {
        (0, _) => 0,
        (_, 0) => ALL_FAILED,
        _ => SOME_FAILED,
    }
}
