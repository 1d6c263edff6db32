//! How the demo speaks: numbered steps, what was typed and what came of it, and a sign of life while something lasts.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// What takes longer than this shows progress.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often progress is shown on a terminal, and how often to a file.
const REFRESH: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A step begins.
pub(super) fn step(what: &str) -> Result<()> {
    static STEPS: AtomicUsize = AtomicUsize::new(1);
    let number = STEPS.fetch_add(1, Ordering::Relaxed);
    line(&format!("\n{number}. {what}"))
}

/// What one would type in the guest.
pub(super) fn guest_line(command: &str) -> Result<()> {
    line(&format!("   guest# {command}"))
}

/// What one would type on the host.
pub(super) fn host_line(command: &str) -> Result<()> {
    line(&format!("   host$ {command}"))
}

/// What a command printed.
pub(super) fn output(text: &str) -> Result<()> {
    text.lines().try_for_each(|text| line(&format!("     {text}")))
}

/// A line.
pub(super) fn line(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}")?;
    Ok(())
}

/// Does `work` and shows on standard error that it goes on, with what `detail` has to tell.
pub(super) fn during<T: Send>(
    doing: &str,
    detail: impl Fn() -> Option<String>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let terminal = stderr().is_terminal();
    let refresh = if terminal { REFRESH.0 } else { REFRESH.1 };
    let start = Instant::now();
    thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        scope.spawn(move || done.send(work()));
        let mut wait = PATIENCE;
        loop {
            match ended.recv_timeout(wait) {
                Ok(result) => {
                    if terminal && start.elapsed() > PATIENCE {
                        // The line of progress gives way to what comes.
                        write!(stderr(), "\r\x1b[K")?;
                    }
                    return result;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("{doing}: its thread panicked"),
            }
            wait = refresh;
            let detail = detail().map(|detail| format!(", {detail}")).unwrap_or_default();
            let text = format!("   … {doing}: {} s{detail}", start.elapsed().as_secs());
            if terminal { write!(stderr(), "\r\x1b[K{text}")? } else { writeln!(stderr(), "{text}")? }
        }
    })
}
