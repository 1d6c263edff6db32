//! Two hosts with two real guests each, whose images lie on one storage that takes one trim at a time.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;
use trimtab_tests::{
    GIB, MIB,
    campaigns::WorkerProcess,
    disguise::Disguise,
    guest::{DiskSpec, Guest, GuestSpec},
    postgres::Postgres,
    trimtab::{Ended, Running},
    walk::{DELETED_MIB, Kind, Walk},
};

/// For hosts to publish what they have, and for a night of four.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is one storage to both hosts.
const CONFIG: &str =
    "[[datastore]]\nname = \"shared\"\nmatch = \"/*\"\n\n[[datastore]]\nname = \"shared\"\nmatch = \"/\"\n";

/// A host of two guests, and the role that its worker logs in as.
struct Host<'a> {
    disguise: Disguise,
    inventory: PathBuf,
    walks: [&'a Walk<'a>; 2],
    store: String,
}

impl<'a> Host<'a> {
    fn new(digit: char, walks: [&'a Walk<'a>; 2], server: &Postgres) -> Result<Self> {
        let disguise = Disguise::new(digit, CONFIG)?;
        let inventory = disguise.path("fleet.toml");
        let files = walks.map(|walk| Ok(fs::read_to_string(walk.guest.write_inventory()?)?));
        fs::write(&inventory, files.into_iter().collect::<Result<Vec<_>>>()?.concat())?;
        Ok(Self { disguise, inventory, walks, store: server.url(&format!("host-{digit}")) })
    }

    fn worker(&self) -> Result<WorkerProcess> {
        let mut command = self.disguise.trimtab(&self.inventory, &["worker"])?;
        command.env("TRIMTAB_STORE", &self.store).env("TRIMTAB_METRICS", self.disguise.path("trimtab.prom"));
        WorkerProcess::start(command, &self.disguise.path("worker.log"))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.disguise.path("worker.log")).unwrap_or_default()
    }
}

/// A person on a third machine.
struct Operator {
    disguise: Disguise,
    store: String,
}

impl Operator {
    fn run(&self, words: &[&str]) -> Result<Ended> {
        let mut command = self.disguise.trimtab(&self.disguise.path("none.toml"), words)?;
        command.env("TRIMTAB_STORE", &self.store);
        let ended = Running::start(command)?.end()?;
        println!("# trimtab {}\n{}{}", words.join(" "), ended.stderr, ended.stdout);
        Ok(ended)
    }

    fn runs(&self, words: &[&str]) -> Result<()> {
        let ended = self.run(words)?;
        ensure!(ended.exit == 0, "exit {}", ended.exit);
        Ok(())
    }

    fn asked(&self, words: &[&str]) -> Result<Value> {
        Ok(self.run(&[words, &["--json"]].concat())?.document()?.0)
    }
}

/// When each disk got its first and its last discard.
fn watch(walks: &[Walk<'_>; 4], is_over: &AtomicBool) -> Result<Vec<(Instant, Instant)>> {
    let mut last =
        walks.iter().map(|walk| Ok(walk.guest.arrived(&walk.disk)?.0)).collect::<Result<Vec<_>>>()?;
    let mut spans: Vec<Option<(Instant, Instant)>> = vec![None; walks.len()];
    while !is_over.load(Ordering::Relaxed) {
        for ((walk, last), span) in walks.iter().zip(&mut last).zip(&mut spans) {
            let now = walk.guest.arrived(&walk.disk)?.0;
            if now != *last {
                *last = now;
                let at = Instant::now();
                *span = Some((span.map_or(at, |(first, _)| first), at));
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    spans.into_iter().map(|span| span.context("a disk got no discard")).collect()
}

#[test]
fn two_hosts_with_two_guests_each_and_a_storage_that_takes_one_trim_at_a_time() -> Result<()> {
    let server = Postgres::start()?;
    let boot = |name: &str| Guest::boot(GuestSpec::new(name));
    let (web, db) = (boot("web-1")?, boot("db-1")?);
    let (mail, files) = thread::scope(|scope| {
        let other = scope.spawn(|| boot("mail-1"));
        let files = boot("files-1")?;
        Ok::<_, anyhow::Error>((other.join().map_err(|_| anyhow!("a boot panicked"))??, files))
    })?;
    let add = |guest, kind, name: &str| -> Result<Walk<'_>> {
        // Slow enough that two at once would be seen.
        let walk = Walk::add(guest, kind, DiskSpec::new(name, GIB).throttled())?;
        walk.keep_files()?;
        walk.write_and_delete(DELETED_MIB)?;
        walk.guest.start_agent("")?;
        walk.guest.limit_writes(&walk.disk, 20)?;
        Ok(walk)
    };
    let walks = [
        add(&web, Kind::Ext4, "web")?,
        add(&db, Kind::Xfs, "db")?,
        add(&mail, Kind::Ext4, "mail")?,
        add(&files, Kind::Ext4, "files")?,
    ];
    let [a, b, c, d] = &walks;
    let hosts = [Host::new('a', [a, b], &server)?, Host::new('b', [c, d], &server)?];
    let operator = Operator { disguise: Disguise::new('c', "")?, store: server.url("trimtab") };
    fs::write(operator.disguise.path("none.toml"), "")?;

    operator.runs(&["store", "init"])?;
    for (host, role) in hosts.iter().zip(["host-a", "host-b"]) {
        operator.runs(&["store", "grant", host.disguise.id(), "--role", role])?;
    }
    let workers = hosts.iter().map(Host::worker).collect::<Result<Vec<_>>>()?;
    let plan = operator.disguise.path("plan.toml");
    let plan = plan.to_str().context("a folder whose name is not UTF-8")?;
    let began = Instant::now();
    loop {
        let words = ["campaign", "plan", "-o", plan, "--force", "--name", "two", "--per-datastore", "1"];
        let ended = operator.run(&words)?;
        let text = fs::read_to_string(plan).unwrap_or_default();
        if ended.exit == 0 && text.matches("[[vm]]").count() == 4 {
            break;
        }
        let said = hosts.each_ref().map(Host::said).concat();
        ensure!(
            began.elapsed() < PATIENCE,
            "no plan of four: {text}\n{}{}\n{said}",
            ended.stdout,
            ended.stderr
        );
        thread::sleep(Duration::from_secs(1));
    }
    let text = fs::read_to_string(plan)?;
    println!("{text}");
    ensure!(text.matches("[[datastore]]").count() == 1, "one storage, twice");
    // Of first trims a datastore takes one at a time anyway, and so does a ramp's first stage: here the cap is to do it.
    let known =
        text.replace("first = true ", "first = false ").replace("ramp = [1, 5, \"10 %\"]", "ramp = []");
    ensure!(known.matches("first = false").count() == 4 && known.contains("ramp = []"), "{known}");
    fs::write(plan, known)?;

    let before = walks.iter().map(|walk| walk.disk.allocated_bytes()).collect::<Result<Vec<_>>>()?;
    let is_over = AtomicBool::new(false);
    let (report, spans) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&walks, &is_over));
        let night = || -> Result<Value> {
            operator.runs(&["campaign", "apply", plan])?;
            let began = Instant::now();
            while operator.asked(&["campaign", "status", "1"])?["campaign"]["state"] != "done" {
                let said = hosts.each_ref().map(Host::said).concat();
                ensure!(began.elapsed() < PATIENCE, "it does not end:\n{said}");
                thread::sleep(Duration::from_secs(1));
            }
            operator.asked(&["campaign", "report", "1"])
        };
        let report = night();
        is_over.store(true, Ordering::Relaxed);
        let spans = watching.join().map_err(|_| anyhow!("the watch panicked"))?;
        Ok::<_, anyhow::Error>((report?, spans?))
    })?;
    operator.runs(&["campaign", "report", "1"])?;
    for worker in workers {
        ensure!(worker.leave()? == 0, "a worker that has nothing to do does not leave well");
    }

    let mut in_order = spans.clone();
    in_order.sort();
    for pair in in_order.windows(2) {
        ensure!(pair[0].1 < pair[1].0, "two were trimmed at once on a storage that takes one: {spans:?}");
    }
    let runs = report["runs"].as_array().context("no runs")?;
    for host in &hosts {
        for walk in host.walks {
            let vm = walk.guest.name();
            let run = runs.iter().find(|run| run["vm"] == vm).with_context(|| format!("no run of {vm}"))?;
            let index =
                walks.iter().position(|other| other.disk.name == walk.disk.name).context("no disk")?;
            let fell = i64::try_from(before[index])? - i64::try_from(walk.disk.allocated_bytes()?)?;
            ensure!(
                run["result"]["class"] == "reclaimed" && run["freed_bytes"] == fell,
                "{vm}, {fell}: {run:#}"
            );
            ensure!(fell >= i64::try_from(DELETED_MIB * MIB)?, "{vm}: {fell}");
            ensure!(run["host"] == host.disguise.id(), "{vm} is another host's: {run:#}");
            walk.unmount_and_check()?;
        }
    }
    Ok(())
}
