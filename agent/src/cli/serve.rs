//! `serve`: what systemd starts. Takes the socket, says that it is ready, answers calls until it is told to stop.

use std::process::ExitCode;

use anyhow::Context;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::{Config, Listen},
    listen::{self, Gate, Listener},
    lock,
    runs::Runs,
    service::{AgentService, HostPolicy},
    surveyor::Surveyor,
    sys::{Roots, system},
    trim::{Engine, Guest},
};

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Listen here instead: vsock:PORT or unix:/PATH. A socket that systemd hands over comes first
    #[arg(long, value_name = "WHERE")]
    listen: Option<Listen>,
}

/// More at a time than a guest needs; each is there for a disk that may not answer.
const BLOCKING_THREADS: usize = 16;

pub(super) fn run(args: Args, roots: Roots, config: Config) -> anyhow::Result<ExitCode> {
    let runtime = runtime()?;
    let served = runtime.block_on(serve(args, roots, config));
    // A thread that waits for a dead disk would hold up the end.
    runtime.shutdown_background();
    served.map(|()| ExitCode::SUCCESS)
}

/// One thread for all that decides, which is the main one: workers die with the thread that started them.
pub(super) fn runtime() -> anyhow::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .context("cannot start the event loop")
}

/// The engine of this guest, with /proc/self/exe as its worker, and what `uname -r` says. `runs` makes the account of
/// this boot's runs.
pub(super) fn engine(roots: &Roots, runs: impl FnOnce(&str) -> Runs) -> anyhow::Result<(Engine, String)> {
    let system = system::read(roots)?;
    let runs = runs(&system.boot_id);
    let guest = Guest {
        roots: roots.clone(),
        worker: roots.proc.join("self/exe"),
        boot_id: system.boot_id,
        kernel: system.kernel.parse().unwrap_or_default(),
    };
    Ok((Engine::new(guest, runs), system.kernel))
}

async fn serve(args: Args, roots: Roots, config: Config) -> anyhow::Result<()> {
    let (engine, kernel) = engine(&roots, |boot_id| Runs::load(&lock::folder(&roots), boot_id))?;
    let (listener, place) = match Listener::handed()? {
        Some(handed) => (handed, "the socket that systemd handed over".to_owned()),
        None => {
            let place = args.listen.unwrap_or(config.listen.clone());
            let listener = match &place {
                Listen::Vsock { port } => Listener::vsock(*port)?,
                Listen::Unix { path } => Listener::unix(path)?,
            };
            (listener, place.to_string())
        }
    };
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify(&[sd_notify::NotifyState::Stopping]);
    };

    let gate = Gate::new(config.allow_cids.clone(), usize::try_from(config.max_connections)?);
    let service = AgentService {
        engine,
        surveyor: Surveyor::new(roots, config.policy()),
        policy: policy(&config),
        kernel,
    };
    tracing::info!("listening on {place}");
    notify(&[sd_notify::NotifyState::Ready]);
    listen::run(listener, gate, service, config.idle_exit, shutdown).await;
    Ok(())
}

fn policy(config: &Config) -> HostPolicy {
    HostPolicy {
        may_trim: config.trim.host_may_trim,
        may_probe: config.trim.host_may_probe,
        pace: config.trim.pace,
        fastest: config.trim.fastest,
        min_interval: config.trim.min_interval,
        also_allowed_types: config.trim.also_types.clone(),
        longest_linger: config.trim.linger,
    }
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot tell systemd: {error}");
    }
}
