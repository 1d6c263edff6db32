//! The store of campaigns on a filesystem that is full, and before users who may not write it.

use std::fs;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};
use trimtab_controller::campaign::limits::Limits;
use trimtab_controller::campaign::run::{NewRun, VmKey};
use trimtab_controller::campaign::store::sqlite::SqliteStore;
use trimtab_controller::campaign::store::{Claim, Claimant, NewCampaign, Store};
use trimtab_controller::model::trouble::Kind;
use trimtab_tests::loop_disk::{Filesystem, LoopDisk};
use trimtab_tests::{MIB, programs};

const VMS: u32 = 400;

fn campaign() -> Result<NewCampaign> {
    let all = NonZeroU32::new(VMS).context("no VMs")?;
    let run = |position| NewRun {
        vm: VmKey { host: "h".into(), name: format!("vm{position}"), uuid: None },
        datastores: vec!["d".into()],
        position,
        expected_bytes: 1,
        is_first: false,
    };
    Ok(NewCampaign {
        name: "nightly".into(),
        who: "test".into(),
        plan: String::new(),
        limits: Limits { at_once: all, per_datastore: all, ramp: Vec::new(), ..Limits::default() },
        windows: Vec::new(),
        runs: (0..VMS).map(run).collect(),
    })
}

/// Takes every block that is left.
pub(crate) fn fill(path: &Path) -> Result<()> {
    let mut file = fs::File::create(path)?;
    let zeroes = vec![0; 4096];
    loop {
        match file.write_all(&zeroes).and_then(|()| file.sync_data()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => bail!("{}: {error}", path.display()),
        }
    }
}

#[tokio::test]
async fn a_full_filesystem_stops_the_store_and_room_lets_it_go_on() -> Result<()> {
    let disk = LoopDisk::mount(Filesystem::Ext4, 8 * MIB)?;
    let store = SqliteStore::open(&disk.path().join("trimtab.db")).await?;
    let id = store.apply(&campaign()?).await?;
    let filler = disk.path().join("filler");
    fill(&filler)?;
    let by = Claimant { host: "h".into(), worker: "w".into() };
    let mut claimed = 0;
    let trouble = loop {
        match store.claim(id, &by).await {
            Ok(Claim::Run(_)) => claimed += 1,
            Ok(other) => bail!("{claimed} claimed, then {other:?}"),
            Err(trouble) => break trouble,
        }
    };
    ensure!(trouble.kind == Kind::Store && trouble.text.contains("its filesystem is full"), "{trouble}");
    let status = store.status(id).await?;
    ensure!(status.summary.running == claimed, "{} run, {claimed} were given", status.summary.running);
    fs::remove_file(&filler)?;
    for _ in claimed..VMS {
        ensure!(matches!(store.claim(id, &by).await?, Claim::Run(_)), "it does not go on");
    }
    ensure!(store.status(id).await?.summary.running == VMS, "each once");
    Ok(())
}

/// Who is nobody: no right to write anywhere here.
fn as_nobody(program: &Path, store: &Path, verb: &[&str]) -> Result<Output> {
    let mut command = Command::new(program);
    command.args(["campaign", "--store"]).arg(store).args(verb).uid(65_534).gid(65_534).current_dir("/");
    Ok(command.output()?)
}

#[tokio::test]
async fn who_may_not_write_may_look() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("trimtab-").tempdir_in("/var/tmp")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let (program, db) = (folder.path().join("trimtab"), folder.path().join("trimtab.db"));
    fs::copy(programs::trimtab()?, &program)?;
    let store = SqliteStore::open(&db).await?;
    store.apply(&campaign()?).await?;
    let list = |when: &str| {
        let ended = as_nobody(&program, &db, &["list"])?;
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure!(ended.status.success() && text.contains("nightly"), "{when}: {ended:?}");
        Ok(())
    };
    list("while a worker has it open")?;
    store.close().await;
    ensure!(!folder.path().join("trimtab.db-wal").exists(), "a log was left");
    list("when nobody has it open")?;
    let ended = as_nobody(&program, &db, &["pause", "1"])?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(!ended.status.success() && said.contains("may not write it"), "{ended:?}");
    fs::set_permissions(&db, fs::Permissions::from_mode(0o600))?;
    let ended = as_nobody(&program, &db, &["list"])?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(!ended.status.success() && said.contains("cannot be opened by this user"), "{ended:?}");
    Ok(())
}
