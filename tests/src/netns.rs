//! A network between two sides that are nowhere else: a namespace for each, and a pair of veth(4). Nothing of it is seen from
//! outside, so no address can meet one of the machine's; and it is gone with the last process in it and with this value,
//! however this process ends.
//!
//! ```text
//! worker  198.18.0.1 ── veth ── 198.18.0.2  database
//! ```
//!
//! What is cut vanishes: each side knows the other by a fixed link address, and a wrong one makes its packets somebody
//! else's (ip-neighbour(8)). Nobody is told, as with a switch that swallows them, and no firewall is needed for it.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, TcpListener},
    os::fd::AsRawFd,
    process::{Command, Output},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// Nobody's.
const NO_MAC: &str = "02:00:00:00:00:ff";

/// One end, as the other one knows it.
struct End {
    /// Its interface.
    name: &'static str,
    address: Ipv4Addr,
    mac: &'static str,
}

/// Set aside for the tests of networks (RFC 2544).
const WORKER: End = End { name: "worker", address: Ipv4Addr::new(198, 18, 0, 1), mac: "02:00:00:00:00:01" };
const DATABASE: End =
    End { name: "database", address: Ipv4Addr::new(198, 18, 0, 2), mac: "02:00:00:00:00:02" };

/// What does not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Anything.
    Both,
    /// What the database's side sends. What the worker sends does.
    Answers,
}

/// A network of two sides.
#[derive(Debug)]
pub struct Net {
    /// Their namespaces, which last as long as somebody has them open.
    worker: File,
    database: File,
}

impl Net {
    /// One on which everything arrives.
    ///
    /// # Errors
    /// This is not root, or there is no ip(8).
    pub fn new() -> Result<Self> {
        let net = Self { worker: namespace()?, database: namespace()? };
        let pair = format!(
            "link add {} address {} type veth peer name {} address {} netns {}",
            WORKER.name,
            WORKER.mac,
            DATABASE.name,
            DATABASE.mac,
            path(&net.database)
        );
        ip(&net.worker, &pair)?;
        for (namespace, own) in [(&net.worker, WORKER), (&net.database, DATABASE)] {
            ip(namespace, "link set lo up")?;
            ip(namespace, &format!("address add {}/30 dev {}", own.address, own.name))?;
            ip(namespace, &format!("link set {} up", own.name))?;
        }
        net.mend()?;
        Ok(net)
    }

    /// From now on this does not arrive. No connection breaks.
    ///
    /// # Errors
    /// ip(8) refuses it.
    pub fn cut(&self, cut: Cut) -> Result<()> {
        self.lead(&self.database, DATABASE, &WORKER, NO_MAC)?;
        match cut {
            Cut::Both => self.lead(&self.worker, WORKER, &DATABASE, NO_MAC),
            Cut::Answers => Ok(()),
        }
    }

    /// All arrives again.
    ///
    /// # Errors
    /// ip(8) refuses it.
    pub fn mend(&self) -> Result<()> {
        self.lead(&self.worker, WORKER, &DATABASE, DATABASE.mac)?;
        self.lead(&self.database, DATABASE, &WORKER, WORKER.mac)
    }

    /// Has this side send what is for the other one to this link address.
    fn lead(&self, side: &File, own: End, other: &End, mac: &str) -> Result<()> {
        let words =
            format!("neighbour replace {} lladdr {mac} dev {} nud permanent", other.address, own.name);
        ip(side, &words)
    }

    /// The database's address.
    pub fn address(&self) -> Ipv4Addr {
        DATABASE.address
    }

    /// The same command on the worker's side. The process is the command's own.
    pub fn beside_the_worker(&self, command: &Command) -> Command {
        within(&self.worker, command)
    }

    /// The same command on the database's side.
    pub fn beside_the_database(&self, command: &Command) -> Command {
        within(&self.database, command)
    }

    /// A port on the database's side, for this process.
    ///
    /// # Errors
    /// None is free.
    pub fn listen(&self) -> Result<TcpListener> {
        // A socket stays in the namespace that it was made in, and a thread may go there alone.
        let bound = thread::scope(|scope| {
            let there = scope.spawn(|| -> io::Result<TcpListener> {
                setns(&self.database, CloneFlags::CLONE_NEWNET)?;
                TcpListener::bind((DATABASE.address, 0))
            });
            there.join()
        });
        Ok(bound.map_err(|_| anyhow!("the thread that was to listen died"))??)
    }
}

/// A network namespace with nobody in it: that of a thread which has ended.
fn namespace() -> Result<File> {
    let made = thread::spawn(|| -> io::Result<File> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        File::open("/proc/thread-self/ns/net")
    });
    let made = made.join().map_err(|_| anyhow!("the thread that was to have it died"))?;
    made.context("cannot make a network namespace; it takes root")
}

fn path(namespace: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

fn within(namespace: &File, command: &Command) -> Command {
    let mut within = Command::new("nsenter");
    within.arg(format!("--net={}", path(namespace))).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => within.env(name, value),
            None => within.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        within.current_dir(directory);
    }
    within
}

fn ip(namespace: &File, words: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    ip.args(words.split(' '));
    let Output { status, stderr, .. } = within(namespace, &ip).output().context("cannot run nsenter(1)")?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "ip {words}: {}; `make test` installs what it needs", said.trim());
    Ok(())
}
