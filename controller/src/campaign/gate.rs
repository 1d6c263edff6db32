//! Gates: what this host asks before each admission. How long its tasks wait for I/O, and commands that trimtab.toml
//! defines by name (Ceph, ZFS, md: healthy?), each an argument list and never a shell. A plan can only name them.
//!
//! A gate that cannot be asked is closed. Nothing outlives a gate: its whole process group is killed at its end.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::{blocking, config::gates::Gate};

/// Where the kernel tells of pressure, since Linux 4.20 with CONFIG_PSI.
pub const PRESSURE: &str = "/proc/pressure/io";

/// Where root's programs are, whatever this process was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// For what the program has said by then, and for the kernel to let go of it.
const GRACE: Duration = Duration::from_secs(1);
const MOST_SAID: usize = 4096;
const MOST_SHOWN: usize = 200;

/// Asks a gate. An error is why it is closed, in one line.
///
/// # Errors
/// It ended otherwise than with 0, or not in time, or could not be run.
pub async fn ask(gate: &Gate) -> Result<(), String> {
    let gate = gate.clone();
    let limit = gate.timeout.saturating_add(GRACE.saturating_mul(3));
    blocking::within(limit, move || run(&gate)).await.unwrap_or_else(|error| Err(error.to_string()))
}

fn run(gate: &Gate) -> Result<(), String> {
    let (program, arguments) = gate.command.split_first().ok_or("it has no command")?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").process_group(0);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program} cannot be run: {error}"))?;
    let said = Said::default();
    let readers = [said.listen(child.stdout.take()), said.listen(child.stderr.take())];
    let ended = wait(&mut child, gate.timeout);
    // What it started goes with it, and lets go of its output.
    kill_group(&child);
    let status = match ended {
        Ok(Some(status)) => status,
        Ok(None) => {
            reap(child);
            return Err(format!("{program} did not end within {} s", gate.timeout.as_secs_f32()));
        }
        Err(error) => return Err(format!("{program} cannot be waited for: {error}")),
    };
    if status.success() {
        return Ok(());
    }
    let began = Instant::now();
    while began.elapsed() < GRACE && readers.iter().flatten().any(|reader| !reader.is_finished()) {
        thread::sleep(LOOK_EVERY);
    }
    Err(match said.first_line() {
        Some(line) => format!("{program}: {status}: {line}"),
        None => format!("{program}: {status}"),
    })
}

/// Its first words, from both of its outputs.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// Reads to the end, so that the program never waits for its reader, and keeps the beginning.
    fn listen(&self, from: Option<impl Read + Send + 'static>) -> Option<thread::JoinHandle<()>> {
        let (kept, mut from) = (Arc::clone(&self.0), from?);
        let read = move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = from.read(&mut piece) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MOST_SAID.saturating_sub(kept.len()).min(length);
                kept.extend(piece.iter().take(room));
            }
        };
        thread::Builder::new().name("gate".to_owned()).spawn(read).ok()
    }

    fn first_line(&self) -> Option<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().take(MOST_SHOWN).collect())
    }
}

fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if began.elapsed() >= limit => return Ok(None),
            None => thread::sleep(LOOK_EVERY),
        }
    }
}

fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Nobody is left in most groups.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Waits for one that was killed, on a thread of its own: it may sit in the kernel for long.
fn reap(mut child: Child) {
    let waiting = thread::Builder::new().name("gate".to_owned()).spawn(move || drop(child.wait()));
    drop(waiting);
}

/// Why the host's I/O pressure forbids more, if it does; `limit_percent` 0: never. A kernel that does not tell forbids
/// nothing.
pub fn pressed(pressure: &Path, limit_percent: u8) -> Option<String> {
    let said = std::fs::read_to_string(pressure).ok().filter(|_| limit_percent > 0)?;
    let hundredths = some_avg10_hundredths(&said)?;
    let limit = u32::from(limit_percent).saturating_mul(100);
    (hundredths >= limit).then(|| {
        let percent = hundredths.checked_div(100).unwrap_or(0);
        format!("this host's tasks waited for I/O {percent} % of the last ten seconds; below {limit_percent} % it goes on")
    })
}

/// "some avg10=12.34 …" → 1234. See Documentation/accounting/psi.rst.
fn some_avg10_hundredths(text: &str) -> Option<u32> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let (whole, part) =
        some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.split_once('.')?;
    let part: u32 = part.parse().ok().filter(|_| part.len() == 2)?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(script: &str, millis: u64) -> Gate {
        of(&["sh", "-c", script], Duration::from_millis(millis))
    }

    fn of(command: &[&str], timeout: Duration) -> Gate {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        Gate { name: "g".to_owned(), command, timeout }
    }

    #[tokio::test]
    async fn the_exit_code_opens_or_closes_it() {
        for (name, gate, closed) in [
            ("well", gate("exit 0", 5000), None),
            ("ill", gate("echo HEALTH_ERR; echo more; exit 3", 5000), Some("sh: exit status: 3: HEALTH_ERR")),
            ("silent", gate("exit 1", 5000), Some("sh: exit status: 1")),
            ("by a signal", gate("kill -9 $$", 5000), Some("sh: signal: 9")),
            ("slow", gate("sleep 60", 300), Some("sh did not end within 0.3 s")),
            ("talkative", gate("yes | head -c 5000000; exit 0", 20_000), None),
            ("not there", of(&["/no/such"], GRACE), Some("/no/such cannot be run")),
            ("empty", of(&[], GRACE), Some("it has no command")),
        ] {
            let answer = ask(&gate).await;
            match closed {
                None => assert_eq!(answer, Ok(()), "{name}"),
                Some(text) => assert!(answer.as_ref().unwrap_err().starts_with(text), "{name}: {answer:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_it_left_behind_is_killed_and_does_not_hold_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let alive = folder.path().join("alive");
        let script = format!("(while :; do date > {0}; sleep 0.05; done) & exit 1", alive.display());
        let began = Instant::now();
        assert!(ask(&gate(&script, 5000)).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(3));
        tokio::time::sleep(Duration::from_millis(100)).await;
        let _ = std::fs::remove_file(&alive);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!alive.exists(), "its child goes on");
    }

    #[test]
    fn pressure() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("io");
        for (text, limit, is_pressed) in [
            (
                "some avg10=59.99 avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0 avg300=0 total=1\n",
                60,
                false,
            ),
            ("some avg10=60.00 avg60=0.00 avg300=0.00 total=1\n", 60, true),
            ("some avg10=100.00 avg60=0.00 avg300=0.00 total=1\n", 60, true),
            ("some avg10=100.00 avg60=0.00 avg300=0.00 total=1\n", 0, false),
            ("some avg10=x avg60=0.00\n", 60, false),
            ("", 60, false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(pressed(&file, limit).is_some(), is_pressed, "{text}");
        }
        assert_eq!(pressed(Path::new("/nowhere"), 60), None);
    }
}
