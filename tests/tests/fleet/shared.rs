//! An image that a VM of another host has come to use since the campaign was applied.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use trimtab_controller::campaign::{
    account::CampaignState,
    limits::Limits,
    run::Class,
    seen::{SeenDisk, SeenHost, SeenImage, SeenVm},
    store::{
        Claimant, Store,
        fleet::{Fleet, News},
        postgres::{PgStore, grant, init},
    },
    worker::{Settings, Worker},
};
use trimtab_tests::{
    postgres::Postgres,
    sim::{
        SimVms,
        fleet::{self, FleetSpec},
        play::Ear,
        vm::Spec,
    },
};

const HOST: &str = "host-a";
const OTHER: &str = "host-b";

/// A VM that runs on the other host with this image.
fn thief(known_as: &str) -> SeenVm {
    let image = SeenImage {
        path: "/mnt/its.img".into(),
        inode: 0,
        datastore: Some("store-0".into()),
        known_as: vec![known_as.into()],
    };
    let disk = SeenDisk {
        name: "vda".into(),
        image: Some(image),
        slack: None,
        allocated_bytes: None,
        used_bytes: None,
        goes: true,
    };
    SeenVm { disks: vec![disk], out: None, ..SeenVm::not_looked_at("thief".into(), None, Vec::new(), true) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_vm_is_not_begun_and_the_others_are() {
    let server = tokio::task::block_in_place(Postgres::start).unwrap();
    let operator = server.url("trimtab");
    init(&operator, None).await.unwrap();
    for host in [HOST, OTHER] {
        grant(&operator, host, host).await.unwrap();
    }
    let all = FleetSpec { seed: 1, vms: 3, datastores: 1, odd_percent: 0, first_percent: 0 };
    let specs = fleet::specs(all).zip(0..).map(|(spec, number)| Spec {
        datastores: vec![format!("store-{number}")],
        takes: Duration::from_millis(100),
        latency: Duration::from_millis(1),
        ..spec
    });
    let world = Arc::new(fleet::world(specs));
    let store = PgStore::open(&operator).await.unwrap();
    let runs = world.vms.iter().map(|vm| (HOST.to_owned(), &vm.spec));
    let id = store.apply(&fleet::over(runs, Limits::default())).await.unwrap();
    // The file of the first VM, whose number is 0 on its datastore.
    let other = PgStore::open(&server.url(OTHER)).await.unwrap();
    let about = SeenHost { name: "node-b".into(), ..SeenHost::default() };
    let changed = vec![thief("store-0\n0").into()];
    let news = News { since: None, about: Some(about), changed, gone: Vec::new() };
    let by = Claimant { host: OTHER.into(), worker: "w".into() };
    other.publish(&by, &news).await.unwrap();

    let (leave, left) = watch::channel(false);
    let worker = Worker {
        store: Arc::new(PgStore::open(&server.url(HOST)).await.unwrap()),
        vms: Arc::new(SimVms(Arc::clone(&world))),
        claimant: Claimant { host: HOST.into(), worker: "w".into() },
        settings: Settings { io_pressure_percent: 0, ..Settings::default() },
        listener: Arc::new(Ear::default()),
    };
    let night = async {
        while store.status(id).await.unwrap().summary.state != CampaignState::Done {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        leave.send_replace(true);
    };
    tokio::join!(worker.work(left), night);
    let runs = store.runs(id).await.unwrap();
    let results: Vec<_> = runs.iter().map(|run| run.result.as_ref().unwrap()).collect();
    assert_eq!(
        results.iter().map(|result| result.class).collect::<Vec<_>>(),
        [Class::NotRun, Class::Reclaimed, Class::Reclaimed]
    );
    let why = results[0].text.as_deref().unwrap();
    assert!(why.starts_with("its image is used by thief of host node-b too: a trim could discard"), "{why}");
    let trimmed: Vec<String> = world.log.entries().into_iter().map(|entry| entry.vm).collect();
    assert_eq!(trimmed.len(), 2, "{trimmed:?}");
    assert!(!trimmed.contains(&world.vms[0].spec.name), "{trimmed:?}");
}
