//! `serve`: what systemd starts. Takes the socket, says that it is ready, answers calls until it is told to stop.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    config::{Config, ConfigError, Listen},
    listen::{self, Callers, Gate, Handed, Listener},
    lock, notify,
    runs::Runs,
    service::{AgentService, HostPolicy},
    surveyor::Surveyor,
    sys::{Roots, system},
    token::Token,
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

/// How long a start takes that fails, where systemd starts anew for each call. More often than its TriggerLimitBurst, and
/// it would give the socket up.
const FAILED_START: Duration = Duration::from_secs(1);

pub(super) fn run(args: Args, roots: Roots, config: Result<Config, ConfigError>) -> anyhow::Result<ExitCode> {
    let handed = Handed::take()?;
    let served = config.map_err(Into::into).and_then(|config| start(args, roots, config, handed.as_ref()));
    if let (Err(error), Some(handed)) = (&served, &handed) {
        notify::failed(&format!("{error:#}"));
        handed.turn_away();
        std::thread::sleep(FAILED_START);
    }
    served.map(|()| ExitCode::SUCCESS)
}

fn start(args: Args, roots: Roots, config: Config, handed: Option<&Handed>) -> anyhow::Result<()> {
    let runtime = runtime()?;
    let served = runtime.block_on(serve(args, roots, config, handed));
    // A thread that waits for a dead disk would hold up the end.
    runtime.shutdown_background();
    served
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

async fn serve(args: Args, roots: Roots, config: Config, handed: Option<&Handed>) -> anyhow::Result<()> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let token = Token::load(&config.token, &roots, credentials.as_deref());
    let token = token.map_err(|what| config.refuse("token", &what))?;
    let (engine, kernel) = engine(&roots, |boot_id| Runs::load(&lock::folder(&roots), boot_id))?;
    let (listener, place) = match handed {
        Some(handed) => (handed.listener()?, "the socket that systemd handed over".to_owned()),
        None => {
            let place = args.listen.unwrap_or(config.listen.clone());
            (Listener::bind(&place)?, place.to_string())
        }
    };
    // Without systemd's socket nobody would start it again.
    let idle_exit = config.idle_exit.filter(|_| handed.is_some());
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        notify::stopping("Told to stop; what runs is being ended");
    };

    let callers = Callers { cids: config.allow_cids.clone(), port: config.peer_port };
    let gate = Gate::new(callers, usize::try_from(config.max_connections)?);
    let service = AgentService {
        engine: engine.clone(),
        surveyor: Surveyor::new(roots, config.policy()),
        policy: policy(&config),
        kernel,
    };
    tracing::info!("listening on {place}");
    tokio::select! {
        () = listen::run(listener, gate, token, service, idle_exit, shutdown) => {}
        () = notify::ready_and_follow(&engine, idle_exit) => {}
    }
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
