//! `trimtab campaign abort` in each state that a campaign can be in, with a real worker: "aborted" is said when nothing runs
//! any more, and what was freed until then is in the account.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use trimtab_controller::{
    campaign::{
        account::{CampaignState, Status},
        limits::{Limits, Share},
        run::{NewRun, RunState, VmKey},
        store::{NewCampaign, Store, sqlite::SqliteStore},
    },
    host,
};
use trimtab_tests::{
    hostile::{HostileAgent, Misdeed},
    sim::killing::Rig,
};

/// Ten pieces of a trim take four seconds.
const PAUSE: Duration = Duration::from_millis(400);

/// A campaign in some state, and how it is brought there.
struct Case {
    name: &'static str,
    campaign: fn(NewCampaign) -> NewCampaign,
    has_worker: bool,
    order: Option<&'static str>,
    is_there: fn(&Status) -> bool,
}

fn as_it_is(campaign: NewCampaign) -> NewCampaign {
    campaign
}

fn later(campaign: NewCampaign) -> NewCampaign {
    let now = Timestamp::now();
    NewCampaign { windows: vec![(now + 1.hour(), now + 2.hours())], ..campaign }
}

/// A VM that never answers comes first, and its failure is one too many.
fn fails(mut campaign: NewCampaign) -> NewCampaign {
    let mute = NewRun {
        vm: VmKey { host: host::id(), name: "mute".to_owned(), uuid: None },
        datastores: vec!["elsewhere".to_owned()],
        position: 0,
        expected_bytes: 0,
        is_first: false,
    };
    for run in &mut campaign.runs {
        run.position += 1;
    }
    campaign.runs.insert(0, mute);
    campaign.limits = Limits { failure_budget: Share::Count(1), retries: 0, ..campaign.limits };
    campaign
}

const CASES: [Case; 6] = [
    Case { name: "not begun", campaign: as_it_is, has_worker: false, order: None, is_there: |_| true },
    Case {
        name: "running",
        campaign: as_it_is,
        has_worker: true,
        order: None,
        is_there: |status| status.running.len() == 4,
    },
    Case {
        name: "paused",
        campaign: as_it_is,
        has_worker: true,
        order: Some("pause"),
        is_there: |status| status.running.len() == 4,
    },
    Case {
        name: "stopped",
        campaign: fails,
        has_worker: true,
        order: None,
        is_there: |status| status.summary.state == CampaignState::Stopped && !status.running.is_empty(),
    },
    Case {
        name: "stopped, and nothing runs any more",
        campaign: fails,
        has_worker: true,
        order: None,
        is_there: |status| status.summary.state == CampaignState::Stopped && status.running.is_empty(),
    },
    Case {
        name: "before its window",
        campaign: later,
        has_worker: true,
        order: None,
        is_there: |status| status.hosts[0].seen.is_some(),
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_in_every_state() {
    for case in CASES {
        let name = case.name;
        let rig = Rig::with_pause(9, PAUSE).unwrap();
        let mute = rig.path("mute.vsock");
        let _mute = HostileAgent(Misdeed::NeverAnswers).serve(&mute).unwrap();
        let fleet = rig.path("fleet.toml");
        let inventory = std::fs::read_to_string(&fleet).unwrap();
        let line = format!("[[vm]]\nname = \"mute\"\nagent = \"unix:{}\"\n", mute.display());
        std::fs::write(&fleet, inventory + &line).unwrap();
        let store = SqliteStore::open(&rig.store()).await.unwrap();
        let id = store.apply(&(case.campaign)(rig.campaign())).await.unwrap();
        let worker = case.has_worker.then(|| rig.start().unwrap());
        rig.until(&store, id, case.is_there).await.unwrap();
        let ordered = |verb: &str| {
            let ended = rig.command(&["campaign", verb, "1"]).unwrap().output().unwrap();
            let text = String::from_utf8_lossy(&ended.stdout).into_owned();
            assert_eq!(ended.status.code(), Some(0), "{name}: {ended:?}");
            text
        };
        if let Some(order) = case.order {
            ordered(order);
        }

        let text = ordered("abort");

        assert!(text.contains(": aborted, "), "{name}: {text}");
        assert_eq!(rig.trimming(), 0, "{name}: aborted, and a guest trims");
        let status = store.status(id).await.unwrap().summary;
        assert_eq!((status.state, status.running, status.waiting), (CampaignState::Aborted, 0, 0), "{name}");
        assert_eq!(status.freed_bytes, rig.lost_bytes().unwrap(), "{name}: {}", rig.said());
        let runs = store.runs(id).await.unwrap();
        assert!(runs.iter().all(|run| run.state == RunState::Done), "{name}: {runs:#?}");
        rig.check_caps().unwrap();
        // Once more is no error, and changes nothing.
        ordered("abort");
        assert_eq!(store.status(id).await.unwrap().summary, status, "{name}");
        if let Some(worker) = worker {
            assert_eq!(worker.leave().unwrap(), 0, "{name}: {}", rig.said());
        }
        assert_eq!(rig.lost_bytes().unwrap(), status.freed_bytes, "{name}: trimmed after its end");
    }
}
