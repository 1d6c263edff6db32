//! Who may call, and how many at a time. Refusals are counted, and logged so that a peer that never stops does not
//! fill the journal.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::config::PeerPort;

/// Between two lines about refusals.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// Where a connection comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// A CID of vsock: 2 is the host, 1 and the guest's own are this guest's processes.
    Vsock {
        /// The address.
        cid: u32,
        /// The port that it calls from.
        port: u32,
    },
    /// A process of this guest, over a unix socket; `None` where the kernel does not say whose.
    Unix {
        /// Its user.
        uid: Option<u32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vsock { cid, port } => write!(f, "vsock CID {cid}, port {port}"),
            Self::Unix { uid: Some(uid) } => write!(f, "a local process of user {uid}"),
            Self::Unix { uid: None } => f.write_str("a local process"),
        }
    }
}

/// The lowest port that an unprivileged process can call from (LAST_RESERVED_PORT, net/vmw_vsock/af_vsock.c).
const FIRST_UNPRIVILEGED_PORT: u32 = 1024;

/// Who may connect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Callers {
    /// These CIDs, over vsock.
    pub cids: Vec<u32>,
    /// From these ports.
    pub port: PeerPort,
}

/// The gate, shared by all connections.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    callers: Callers,
    own_uid: u32,
    places: usize,
    open: watch::Sender<usize>,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    refused: u64,
    untold: u64,
    last: Option<Instant>,
}

/// A connection's place; dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    inner: Arc<Inner>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl Gate {
    /// Lets in these vsock peers, and local ones of root or of this process's own user; `places` at a time.
    pub fn new(callers: Callers, places: usize) -> Self {
        let own_uid = nix::unistd::geteuid().as_raw();
        let open = watch::channel(0).0;
        Self { inner: Arc::new(Inner { callers, own_uid, places, open, log: Mutex::default() }) }
    }

    /// A place for this peer, or `None`: close the connection.
    pub fn admit(&self, peer: Peer) -> Option<Place> {
        if let Err(why) = self.may_call(peer) {
            self.log(format_args!("refused {peer}: {why}"));
            return None;
        }
        let mut admitted = false;
        self.inner.open.send_if_modified(|open| {
            admitted = *open < self.inner.places;
            if admitted {
                *open = open.saturating_add(1);
            }
            admitted
        });
        if !admitted {
            self.log(format_args!("refused {peer}: {} connections are open already", self.inner.places));
            return None;
        }
        Some(Place { inner: self.inner.clone() })
    }

    fn may_call(&self, peer: Peer) -> Result<(), &'static str> {
        let Callers { cids, port: wanted } = &self.inner.callers;
        match peer {
            Peer::Vsock { cid, .. } if !cids.contains(&cid) => Err("not one that may call"),
            Peer::Vsock { port, .. }
                if *wanted == PeerPort::Privileged && port >= FIRST_UNPRIVILEGED_PORT =>
            {
                Err("peer_port = \"privileged\" in agent.toml wants a port below 1024")
            }
            Peer::Vsock { .. } => Ok(()),
            Peer::Unix { uid } if uid == Some(0) || uid == Some(self.inner.own_uid) => Ok(()),
            Peer::Unix { .. } => Err("not one that may call"),
        }
    }

    /// Notes that a call was refused on a connection that had been let in.
    pub fn refused_call(&self, peer: Peer, why: &str) {
        self.log(format_args!("refused a call of {peer}: {why}"));
    }

    /// Notes that accept() failed.
    pub fn accept_failed(&self, error: &std::io::Error, hint: &str) {
        self.log(format_args!("cannot accept a connection: {error}{hint}"));
    }

    /// How many were turned away so far, failed accepts included.
    pub fn refused(&self) -> u64 {
        self.inner.log.lock().unwrap_or_else(PoisonError::into_inner).refused
    }

    /// Nobody is connected.
    pub fn is_empty(&self) -> bool {
        *self.inner.open.borrow() == 0
    }

    /// Waits until nobody is connected.
    pub async fn wait_until_empty(&self) {
        // An error would mean that the sender is gone; it is in `self`.
        let _ = self.inner.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Waits until somebody is connected.
    pub async fn wait_for_one(&self) {
        let _ = self.inner.open.subscribe().wait_for(|open| *open > 0).await;
    }

    fn log(&self, what: fmt::Arguments<'_>) {
        let mut log = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.refused = log.refused.saturating_add(1);
        if log.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            log.untold = log.untold.saturating_add(1);
            return;
        }
        match log.untold {
            0 => tracing::warn!("{what}"),
            more => tracing::warn!("{what} ({more} more since the last such line)"),
        }
        log.untold = 0;
        log.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Peer = Peer::Vsock { cid: 2, port: 1023 };

    fn callers(port: PeerPort) -> Callers {
        Callers { cids: vec![2], port }
    }

    #[test]
    fn who_may_call() {
        let gate = Gate::new(callers(PeerPort::Any), 16);
        let own = nix::unistd::geteuid().as_raw();
        for (name, peer, admitted) in [
            ("the host", HOST, true),
            ("anybody there", Peer::Vsock { cid: 2, port: 1 << 30 }, true),
            ("a process of this guest", Peer::Vsock { cid: 1, port: 1023 }, false),
            ("a neighbour", Peer::Vsock { cid: 3, port: 1023 }, false),
            ("root", Peer::Unix { uid: Some(0) }, true),
            ("the same user", Peer::Unix { uid: Some(own) }, true),
            ("another user", Peer::Unix { uid: Some(own + 1) }, false),
            ("nobody knows", Peer::Unix { uid: None }, false),
        ] {
            assert_eq!(gate.admit(peer).is_some(), admitted, "{name}");
        }
        assert_eq!(gate.refused(), 4);
        assert!(gate.is_empty());
    }

    #[test]
    fn privileged_ports() {
        let gate = Gate::new(callers(PeerPort::Privileged), 16);
        for (name, cid, port, admitted) in [
            ("the highest", 2, 1023, true),
            ("the lowest", 2, 1, true),
            ("anybody's", 2, 1024, false),
            ("a neighbour's root", 3, 1023, false),
        ] {
            assert_eq!(gate.admit(Peer::Vsock { cid, port }).is_some(), admitted, "{name}");
        }
        let own = nix::unistd::geteuid().as_raw();
        assert!(gate.admit(Peer::Unix { uid: Some(own) }).is_some(), "a unix socket has no ports");
    }

    #[test]
    fn places_are_counted() {
        let gate = Gate::new(callers(PeerPort::Any), 2);
        let (one, two) = (gate.admit(HOST).unwrap(), gate.admit(HOST).unwrap());
        assert!(gate.admit(HOST).is_none());
        drop(one);
        let three = gate.admit(HOST).unwrap();
        assert!(!gate.is_empty());
        drop((two, three));
        assert!(gate.is_empty());
    }
}
