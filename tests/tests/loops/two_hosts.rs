//! A fleet of two hosts: mount namespaces, each with a machine id and a trimtab.toml of its own, over one PostgreSQL, with
//! guests that are files on one storage. What is checked is what the guests saw, and what the files lost.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use trimtab_tests::{
    campaigns::WorkerProcess,
    hybrid::Serving,
    postgres::Postgres,
    programs,
    sim::punching::PunchingVm,
    trimtab::{Ended, Running},
};

/// Between two pieces of a trim: long enough for the other host to have begun one, were it let.
const PAUSE: Duration = Duration::from_millis(30);
const PATIENCE: Duration = Duration::from_secs(120);

/// The host's /etc under a layer of its own, with `$2` as machine id and `$3` as trimtab.toml, for whatever follows.
const NAMESPACE: &str = r#"
mount -t tmpfs tmpfs "$1" && mkdir "$1/upper" "$1/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" /etc
printf '%s\n' "$2" >/etc/machine-id
mkdir -p /etc/trimtab && printf '%s\n' "$3" >/etc/trimtab/trimtab.toml
shift 3 && exec "$@"
"#;

/// Both hosts' storage is one.
const CONFIG: &str = "[[datastore]]\nname = \"nas\"\nmatch = \"*\"";

struct Host {
    id: String,
    folder: PathBuf,
    url: String,
    vms: Vec<PunchingVm>,
    _serving: Vec<Serving>,
}

impl Host {
    /// A host with two guests, `web` and `db`.
    fn new(parent: &Path, letter: char, url: String) -> Result<Self> {
        let id: String = std::iter::repeat_n(letter, 32).collect();
        let folder = parent.join(&id);
        std::fs::create_dir_all(folder.join("layer"))?;
        let vms: Vec<PunchingVm> = ["web", "db"]
            .into_iter()
            .map(|name| PunchingVm::new(&folder, name, PAUSE))
            .collect::<std::io::Result<_>>()?;
        let serving = vms.iter().map(PunchingVm::serve).collect::<std::io::Result<_>>()?;
        let inventory: String = vms.iter().map(PunchingVm::inventory).collect();
        std::fs::write(folder.join("fleet.toml"), inventory)?;
        Ok(Self { id, folder, url, vms, _serving: serving })
    }

    /// The guests write what they had given back, and delete it again.
    fn write(&self) -> Result<()> {
        for vm in &self.vms {
            let image = self.folder.join(format!("{}.img", vm.name()));
            OpenOptions::new().write(true).open(image)?.write_all(&vec![1; 48 << 20])?;
        }
        Ok(())
    }

    fn worker(&self) -> Result<WorkerProcess> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-e", "-c", NAMESPACE, "sh"]);
        command.arg(self.folder.join("layer")).args([&self.id, CONFIG]);
        command.arg(programs::trimtab()?).arg("--inventory").arg(self.folder.join("fleet.toml"));
        command.args(["--connect", "none", "worker"]);
        command.env("TRIMTAB_STORE", &self.url).env("TRIMTAB_IO_PRESSURE_PERCENT", "0");
        command.env("STATE_DIRECTORY", &self.folder);
        WorkerProcess::start(command, &self.folder.join("worker.log"))
    }
}

/// An operator, who has no VM of his own.
struct Operator {
    url: String,
    folder: PathBuf,
}

impl Operator {
    fn runs(&self, words: &[&str]) -> Result<Ended> {
        let mut command = Command::new(programs::trimtab()?);
        command
            .args(["--connect", "none"])
            .args(words)
            .current_dir(&self.folder)
            .env("TRIMTAB_STORE", &self.url);
        Running::start(command)?.end()
    }

    fn document(&self, words: &[&str]) -> Result<Value> {
        let ended = self.runs(&[words, &["--json"]].concat())?;
        Ok(ended.document().with_context(|| format!("{words:?}: {ended:?}"))?.0)
    }

    /// Asks until the answer fits.
    fn until(&self, words: &[&str], fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let began = Instant::now();
        loop {
            let answer = self.document(words)?;
            if fits(&answer) {
                return Ok(answer);
            }
            ensure!(began.elapsed() < PATIENCE, "{words:?}: {answer:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Operator {
    /// Plans, applies and reports, and holds what the guests saw and the files lost against it.
    fn night(&self, hosts: &[Host], plan: &[&str], is_first: bool) -> Result<()> {
        let planned = self.until(plan, |plan| many(&plan["vms"]) == 4)?;
        ensure!(
            many(&planned["datastores"]) == 1 && planned["datastores"][0]["name"] == "nas",
            "{planned:#}"
        );
        ensure!(
            many(&planned["hosts"]) == 2 && planned["left_out"] == Value::Array(Vec::new()),
            "{planned:#}"
        );
        let vms = planned["vms"].as_array().context("no VMs")?;
        ensure!(vms.iter().all(|vm| vm["first"] == is_first), "{planned:#}");
        let (before, so_far) = (allocated(hosts)?, turns(hosts).len());
        let applied = self.document(&["campaign", "apply", "plan.toml"])?;
        let id = applied["campaign"].to_string();
        self.until(&["campaign", "status", &id], |status| status["campaign"]["state"] == "done")?;

        let report = self.document(&["campaign", "report", &id])?;
        let freed = before.checked_sub(allocated(hosts)?).context("the images have grown")?;
        ensure!(report["campaign"]["freed_bytes"] == freed && freed > 100 << 20, "{freed}: {report:#}");
        let turns = turns(hosts);
        ensure!(turns.len() == so_far + 4, "each guest once: {turns:?}");
        for pair in turns.windows(2) {
            ensure!(pair[0].1 <= pair[1].0, "two at once on the storage of both: {turns:?}");
        }
        Ok(())
    }
}

/// When the guests' trims began and ended, in order.
fn turns(hosts: &[Host]) -> Vec<(tokio::time::Instant, tokio::time::Instant)> {
    let mut turns: Vec<_> = hosts.iter().flat_map(|host| &host.vms).flat_map(PunchingVm::turns).collect();
    turns.sort();
    turns
}

fn many(of: &Value) -> usize {
    of.as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_campaign_and_one_trim_at_a_time_on_the_storage_of_both() -> Result<()> {
    let parent = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let folder = tempfile::Builder::new().prefix("trimtab-").tempdir_in(parent)?;
    let postgres = Postgres::start()?;
    let operator = Operator { url: postgres.url("trimtab"), folder: folder.path().to_path_buf() };
    ensure!(operator.runs(&["store", "init", "--lease", "2s"])?.exit == 0);
    let mut hosts = Vec::new();
    for (letter, role) in [('a', "host_a"), ('b', "host_b")] {
        let host = Host::new(folder.path(), letter, postgres.url(role))?;
        ensure!(operator.runs(&["store", "grant", &host.id, "--role", role])?.exit == 0);
        hosts.push(host);
    }
    let plan = ["campaign", "plan", "-o", "plan.toml", "--force", "--per-datastore", "1"];
    let plan = &plan[..];
    let nobody = operator.document(plan)?;
    ensure!(nobody["error"]["kind"] == "unknown_vm", "no host has published yet: {nobody:#}");

    let workers = hosts.iter().map(Host::worker).collect::<Result<Vec<_>>>()?;
    // Of first trims a datastore takes one at a time, whatever its cap is.
    operator.night(&hosts, plan, true)?;
    for worker in workers {
        ensure!(worker.leave()? == 0);
    }
    hosts.iter().try_for_each(Host::write)?;
    let workers = hosts.iter().map(Host::worker).collect::<Result<Vec<_>>>()?;
    operator.night(&hosts, plan, false)?;

    // What came back is published, and one host is lost.
    operator.until(plan, |plan| {
        let out = plan["left_out"].as_array().map(Vec::as_slice).unwrap_or_default();
        out.len() == 4 && out.iter().all(|one| one["reason"] == "nothing_to_free")
    })?;
    let [first, second] = <[WorkerProcess; 2]>::try_from(workers).map_err(|_| anyhow::anyhow!("not two"))?;
    ensure!(first.leave()? == 0);
    drop(second);
    operator.until(plan, |plan| {
        let out = plan["left_out"].as_array().map(Vec::as_slice).unwrap_or_default();
        out.len() == 4 && out.iter().all(|one| one["reason"] == "host_silent")
    })?;
    Ok(())
}

fn allocated(hosts: &[Host]) -> Result<u64> {
    let all = hosts.iter().flat_map(|host| &host.vms).map(PunchingVm::allocated_bytes);
    Ok(all.sum::<std::io::Result<u64>>()?)
}
