//! Guests that tests share: booting costs ten seconds, a disk a tenth of one.
//!
//! ```text
//! idle ─ lease ─→ leased ─ test passed, guest clean again ─→ idle
//!                    └──── test failed, or it cannot be cleaned ─→ gone
//! ```

use std::ops::Deref;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

use super::{Guest, GuestSpec};

/// Guests side by side; each keeps a core busy.
const MOST_GUESTS: usize = 2;

/// Of the small guest.
static SMALL: Pool = Pool::new(|| Guest::boot(GuestSpec::new("guest")), clean);

/// Guests of one kind.
#[derive(Debug)]
pub struct Pool {
    boot: fn() -> Result<Guest>,
    clean: fn(&Guest) -> Result<()>,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    idle: Vec<Guest>,
    leased: usize,
}

/// A guest for one test: as after its boot, and given back so.
#[derive(Debug)]
pub struct Lease {
    pool: &'static Pool,
    guest: Option<Guest>,
    spoiled: bool,
}

impl Pool {
    /// Guests that `boot` makes and `clean` brings back to what they were; an error throws one away.
    pub const fn new(boot: fn() -> Result<Guest>, clean: fn(&Guest) -> Result<()>) -> Self {
        let state = Mutex::new(State { idle: Vec::new(), leased: 0 });
        Self { boot, clean, state, returned: Condvar::new() }
    }

    /// Takes an idle guest, or boots one, or waits for one.
    pub fn lease(&'static self) -> Result<Lease> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.leased >= MOST_GUESTS {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.leased = state.leased.saturating_add(1);
        let idle = state.idle.pop();
        drop(state);
        // From here on its drop counts the lease back, also when the boot fails.
        let mut lease = Lease { pool: self, guest: idle, spoiled: false };
        if lease.guest.is_none() {
            lease.guest = Some((self.boot)()?);
        }
        Ok(lease)
    }
}

impl Lease {
    /// A small guest, with the agent's binary and no disk.
    pub(super) fn new() -> Result<Self> {
        SMALL.lease()
    }

    /// No other test gets this guest.
    pub fn spoil(&mut self) {
        self.spoiled = true;
    }
}

impl Deref for Lease {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        match &self.guest {
            Some(guest) => guest,
            None => unreachable!("a lease has its guest until it is dropped"),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let pool = self.pool;
        let clean = self
            .guest
            .take()
            .filter(|guest| !self.spoiled && !thread::panicking() && (pool.clean)(guest).is_ok());
        let mut state = pool.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.leased = state.leased.saturating_sub(1);
        state.idle.extend(clean);
        pool.returned.notify_one();
    }
}

/// As after the boot: no agent, nothing mounted, no disk.
fn clean(guest: &Guest) -> Result<()> {
    guest.sh("
        if [ -e /run/agent.pid ]; then kill -KILL $(cat /run/agent.pid) 2>/dev/null || true; fi
        rm -rf /run/agent.pid /run/agent.log /run/trimtab-agent
        swapoff -a
        for mount in $(findmnt -rn -o TARGET | grep ^/mnt/ | sort -r); do umount $mount; done
        rm -rf /mnt/*
        for device in /dev/md[0-9]*; do [ ! -b $device ] || mdadm -q --stop $device; done
        dmsetup remove_all
    ")?;
    guest.remove_all_disks()
}
