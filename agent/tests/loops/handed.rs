//! The agent as systemd starts it: with a socket that is not its own, where calls wait while there is no agent.

use std::{
    io::Read,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::time;
use trimtab_proto::v1;

use crate::{
    client::{all, connect, end, request, run_id},
    rig::{AGENT, Disk, GIB, Mounted, Scratch, until},
};

/// systemd, as far as an agent knows it.
struct Manager {
    listener: UnixListener,
    notified: UnixDatagram,
    socket: PathBuf,
    notify: PathBuf,
    config: PathBuf,
    run: PathBuf,
}

impl Manager {
    fn new(scratch: &Scratch, config: &str) -> Self {
        let (socket, notify) = (scratch.path("agent.sock"), scratch.path("notify.sock"));
        let notified = UnixDatagram::bind(&notify).unwrap();
        notified.set_nonblocking(true).unwrap();
        let file = scratch.path("agent.toml");
        std::fs::write(&file, config).unwrap();
        Self {
            listener: UnixListener::bind(&socket).unwrap(),
            notified,
            socket,
            notify,
            config: file,
            run: scratch.path("run"),
        }
    }

    /// Starts an agent with the socket as descriptor 3 (sd_listen_fds(3)).
    fn start(&self) -> Agent {
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
        let child = Command::new("sh")
            .args(["-c", script, AGENT, "serve", "--run-dir"])
            .arg(&self.run)
            .arg("--config")
            .arg(&self.config)
            .env("NOTIFY_SOCKET", &self.notify)
            .stdin(OwnedFd::from(self.listener.try_clone().unwrap()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Agent { child }
    }

    /// What it was told so far, one line each.
    fn told(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let mut lines = Vec::new();
        while let Ok(len) = self.notified.recv(&mut buffer) {
            lines.extend(String::from_utf8_lossy(&buffer[..len]).lines().map(str::to_owned));
        }
        lines
    }
}

struct Agent {
    child: Child,
}

impl Agent {
    fn wait(&mut self) -> (Option<i32>, String) {
        let child = &mut self.child;
        until("the agent ends", Duration::from_secs(10), || child.try_wait().unwrap().is_some());
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (child.wait().unwrap().code(), said)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn idle_it_exits_and_forgets_nothing() {
    let scratch = Scratch::new();
    let disk = Disk::new(&scratch, "one", GIB);
    let _mounted = Mounted::new(&scratch, "ext4", &disk.device);
    let manager = Manager::new(&scratch, "idle_exit_secs = 1\n");
    let mut agent = manager.start();
    let mut client = connect(&manager.socket).await;
    let report = end(&all(client.trim(request(1, &[&disk.id()])).await.unwrap().into_inner()).await);
    time::sleep(Duration::from_millis(1500)).await;
    assert!(agent.child.try_wait().unwrap().is_none(), "a caller is connected");
    drop(client);
    let (code, said) = agent.wait();
    assert_eq!(code, Some(0), "{said}");
    let told = manager.told();
    let waiting = "STATUS=Waiting for calls of the host; ends after 1 s without one";
    let expected = ["READY=1", waiting, "STATUS=A trim or a probe is under way", waiting, "STOPPING=1"];
    assert_eq!(told[..expected.len()], expected, "{told:?}");

    let _next = manager.start();
    let asked = v1::GetRunRequest { run_id: run_id(1) };
    let kept = connect(&manager.socket).await.get_run(asked).await.unwrap().into_inner();
    assert_eq!(kept, report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_comes_while_it_goes_out_is_not_lost() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch, "idle_exit_secs = 1\n");
    // Calls from just before its end until just after, one each time.
    for early_ms in [40, 20, 10, 5, 0] {
        let mut agent = manager.start();
        until("it is ready", Duration::from_secs(10), || manager.told().iter().any(|line| line == "READY=1"));
        time::sleep(Duration::from_millis(1000 - early_ms)).await;
        let socket = manager.socket.clone();
        let call =
            tokio::spawn(async move { connect(&socket).await.hello(v1::HelloRequest::default()).await });
        // systemd starts the next one when a call waits and none runs.
        let mut next = None;
        let began = Instant::now();
        while !call.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(10), "{early_ms} ms: no answer");
            if next.is_none() && agent.child.try_wait().unwrap().is_some() {
                next = Some(manager.start());
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        call.await.unwrap().unwrap_or_else(|status| panic!("{early_ms} ms: {status}"));
        drop((agent, next));
        manager.told();
    }
}

#[test]
fn a_start_that_fails_turns_callers_away_and_takes_its_time() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch, "\nmax_connections = 0\n");
    let mut caller = UnixStream::connect(&manager.socket).unwrap();
    let began = Instant::now();
    let (code, said) = manager.start().wait();
    let mistake = format!("{}:2: max_connections: 0 is not from 1 to 64", manager.config.display());
    assert_eq!((code, said.trim()), (Some(2), format!("error: {mistake}").as_str()));
    assert_eq!(manager.told(), [format!("STATUS={mistake}")]);
    assert!(began.elapsed() >= Duration::from_secs(1), "20 of them in 2 s, and systemd gives the socket up");
    assert_eq!(caller.read(&mut [0; 16]).unwrap_or(0), 0, "closed, so that nothing starts an agent again");
}

#[test]
fn stopped_it_says_so() {
    let scratch = Scratch::new();
    let manager = Manager::new(&scratch, "");
    let mut agent = manager.start();
    until("it is ready", Duration::from_secs(10), || manager.told().iter().any(|line| line == "READY=1"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(agent.child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(agent.wait().0, Some(0));
    assert!(manager.told().iter().any(|line| line == "STOPPING=1"));
}
