//! Programs of the host that are asked for what no call of the kernel tells (dmsetup, lvs, xfs_io): an argument list and
//! never a shell, the C locale, a bound on what they print, and an end. Blocking.

use std::{
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// What is asked for takes milliseconds; LVM on a host of many disks a few seconds.
const LIMIT: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const MAX_OUTPUT_BYTES: u64 = 4 << 20;
/// Where root's programs are, whatever this process was started with.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program told nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTold {
    #[error("{0} is not installed")]
    Missing(String),
    #[error("{0} cannot be run: {1}")]
    NotRun(String, io::Error),
    #[error("{0} did not end within {limit} s", limit = LIMIT.as_secs())]
    TooSlow(String),
    #[error("{0}: {1}")]
    Refused(String, String),
}

/// What a program prints on its standard output.
pub(super) fn output(mut command: Command) -> Result<Vec<u8>, NotTold> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NotTold::Missing(name.clone()),
        _ => NotTold::NotRun(name.clone(), error),
    })?;
    let (out, err) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let ended = wait(&mut child);
    let (out, err) = match ended {
        Ok(true) => (joined(out), joined(err)),
        _ => (Vec::new(), Vec::new()),
    };
    match ended {
        Ok(true) => {}
        Ok(false) => return Err(NotTold::TooSlow(name)),
        Err(error) => return Err(NotTold::NotRun(name, error)),
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(out),
        Ok(status) => {
            let said = String::from_utf8_lossy(&err);
            // The first line says what happened, the others what followed from it.
            let first = said.lines().map(str::trim).find(|line| !line.is_empty());
            let first = first.map_or_else(|| status.to_string(), |line| line.chars().take(200).collect());
            Err(NotTold::Refused(name, first))
        }
        Err(error) => Err(NotTold::NotRun(name, error)),
    }
}

/// Whether it ended in time; it is killed if not. One that sits in the kernel and cannot be killed is left behind
/// unwaited, since waiting for it could take for ever.
fn wait(child: &mut Child) -> io::Result<bool> {
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        thread::sleep(LOOK_EVERY);
    }
    child.kill()?;
    let killed = Instant::now();
    while killed.elapsed() < Duration::from_secs(1) && child.try_wait()?.is_none() {
        thread::sleep(LOOK_EVERY);
    }
    Ok(false)
}

type Reader = Option<thread::JoinHandle<Vec<u8>>>;

/// Reads on a thread of its own, so that a full pipe never stops the program. What is beyond the bound is read and
/// dropped.
fn reader(pipe: Option<impl Read + Send + 'static>) -> Reader {
    let mut pipe = pipe?;
    let read = move || {
        let mut bytes = Vec::new();
        // A pipe that breaks ends the text; the program's status tells the rest.
        drop(pipe.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes));
        drop(io::copy(&mut pipe, &mut io::sink()));
        bytes
    };
    thread::Builder::new().name("child-output".to_owned()).spawn(read).ok()
}

fn joined(reader: Reader) -> Vec<u8> {
    reader.and_then(|thread| thread.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Result<Vec<u8>, NotTold> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        output(command)
    }

    #[test]
    fn what_it_prints() {
        assert_eq!(sh("echo $LC_ALL; echo noise >&2").unwrap(), b"C\n");
        assert_eq!(sh("read line || echo nothing").unwrap(), b"nothing\n", "there is nobody to type");
    }

    #[test]
    fn what_it_says_when_it_fails() {
        let said =
            sh("echo first; printf '\n  no such volume\nfailed\n' >&2; exit 3").unwrap_err().to_string();
        assert_eq!(said, "sh: no such volume");
        assert_eq!(sh("exit 3").unwrap_err().to_string(), "sh: exit status: 3");
        let missing = output(Command::new("trimtab-no-such-program")).unwrap_err();
        assert_eq!(missing.to_string(), "trimtab-no-such-program is not installed");
    }

    #[test]
    fn more_than_anybody_asked_for() {
        let much = sh("head -c 8000000 /dev/zero").unwrap();
        assert_eq!(u64::try_from(much.len()).unwrap(), MAX_OUTPUT_BYTES);
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let began = Instant::now();
        assert!(matches!(sh("exec sleep 600"), Err(NotTold::TooSlow(_))));
        assert!(began.elapsed() < LIMIT + Duration::from_secs(2));
    }
}
