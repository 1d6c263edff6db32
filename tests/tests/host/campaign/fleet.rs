//! Five guests of one host: two are well, one's disk drops discards, one's agent is to hang, one's agent lies.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use anyhow::{Result, anyhow, ensure};
use trimtab_tests::{
    GIB,
    guest::{AGENT_PORT, Discard, Disk, DiskSpec, Guest, GuestSpec, connect_vsock},
    libvirt::{Domain, Libvirt},
    loop_disk::LoopDisk,
    trimtab::Trimtab,
    walk::{Kind, Walk},
};

/// The domain's name in libvirt.
pub(super) const DB: &str = "trimtab-test-db";

/// What is deleted on each disk: more than what the filesystem's own structures blur.
pub(super) const DELETED_MIB: u64 = 96;

/// They run.
pub(super) struct Fleet {
    /// In QEMU alone, and well.
    pub(super) web: Guest,
    /// In libvirt, its image on a datastore of its own, and well.
    pub(super) db: Domain,
    /// Its disk was added with `discard=ignore`, which QEMU tells nobody.
    pub(super) old: Guest,
    /// Its disk can be made slow, for its agent to be stopped in the middle.
    pub(super) hung: Guest,
    /// With an agent that lies.
    pub(super) lying: Guest,
}

impl Fleet {
    /// Boots them, two at a time.
    pub(super) fn boot(libvirt: &Libvirt, datastore: &LoopDisk) -> Result<Self> {
        let liar = Path::new(env!("CARGO_BIN_EXE_trimtab-liar"));
        let image = datastore.path().join("db.qcow2");
        let made =
            Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&image).arg("1G").status();
        ensure!(made?.success(), "qemu-img");
        let plain = |name: &str| Guest::boot(GuestSpec::new(name));
        thread::scope(|scope| {
            let others = scope.spawn(|| -> Result<_> {
                let spec = GuestSpec::new("db").disk(DiskSpec::new("data", GIB).qcow2().image(&image));
                let lying = GuestSpec::new("lying").without_agent().program(liar, "/usr/bin/trimtab-liar")?;
                Ok((libvirt.boot(spec)?, Guest::boot(lying)?))
            });
            let (web, old, hung) = (plain("web")?, plain("old")?, plain("hung")?);
            let (db, lying) = others.join().map_err(|_| anyhow!("a boot panicked"))??;
            Ok(Self { web, db, old, hung, lying })
        })
    }

    /// Gives each a disk with files that stay and a file that is gone, and starts their agents.
    pub(super) fn prepare(&self) -> Result<Walks<'_>> {
        let ignores = DiskSpec::new("old", GIB).discard(Discard::Ignore);
        let walks = Walks {
            web: Walk::add(&self.web, Kind::Ext4, DiskSpec::new("web", GIB))?,
            db: Walk::on(&self.db, Kind::Xfs, self.db.disk("data")?)?,
            old: Walk::add(&self.old, Kind::Ext4, ignores)?,
            hung: Walk::add(&self.hung, Kind::Ext4, DiskSpec::new("hung", GIB).throttled())?,
            lying: Walk::add(&self.lying, Kind::Ext4, DiskSpec::new("lying", GIB))?,
        };
        for (_, walk) in walks.all() {
            walk.keep_files()?;
            walk.write_and_delete(DELETED_MIB)?;
        }
        for guest in [&self.web, &*self.db, &self.old, &self.hung] {
            guest.start_agent("")?;
        }
        self.lie("floods")?;
        Ok(walks)
    }

    /// Has the liar's agent do this from now on.
    pub(super) fn lie(&self, how: &str) -> Result<()> {
        self.lying.sh(&format!(
            "if [ -e /run/liar.pid ]; then kill $(cat /run/liar.pid); fi
             trimtab-liar {how} lying {GIB} </dev/null >/run/liar.log 2>&1 & echo $! >/run/liar.pid"
        ))?;
        connect_vsock(&self.lying.vsock_socket(), AGENT_PORT, Duration::from_secs(60)).map(drop)
    }

    /// `trimtab` that knows them, and a sixth that nobody can reach.
    pub(super) fn trimtab(&self, libvirt: &Libvirt) -> Result<Trimtab> {
        let mut inventory = "[[vm]]\nname = \"away\"\nagent = \"unix:/nowhere\"\n".to_owned();
        for guest in [&self.web, &self.old, &self.hung, &self.lying] {
            inventory.push_str(&fs::read_to_string(guest.write_inventory()?)?);
        }
        inventory.push_str(&fs::read_to_string(self.db.write_inventory()?)?);
        let file = libvirt.directory().join("fleet.toml");
        fs::write(&file, inventory)?;
        Trimtab::with_both(&file, libvirt)
    }
}

/// What is on their disks.
pub(super) struct Walks<'a> {
    pub(super) web: Walk<'a>,
    pub(super) db: Walk<'a>,
    pub(super) old: Walk<'a>,
    pub(super) hung: Walk<'a>,
    pub(super) lying: Walk<'a>,
}

impl<'a> Walks<'a> {
    /// With the VMs' names.
    pub(super) fn all(&self) -> [(&'static str, &Walk<'a>); 5] {
        [("web", &self.web), (DB, &self.db), ("old", &self.old), ("hung", &self.hung), ("lying", &self.lying)]
    }

    /// With the VMs' names.
    pub(super) fn disks(&self) -> Vec<(&'static str, &Disk)> {
        self.all().into_iter().map(|(vm, walk)| (vm, &walk.disk)).collect()
    }
}
