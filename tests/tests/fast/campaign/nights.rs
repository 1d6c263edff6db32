//! Whole campaigns from their first run to their last.

use std::num::NonZeroU32;

use trimtab_controller::campaign::{
    account::CampaignState,
    limits::{Limits, Share},
    store::Store,
};
use trimtab_tests::sim::{
    check,
    fleet::{FleetSpec, campaign, fleet},
    play::Play,
};

pub(super) fn limits(at_once: u32, per_datastore: u32) -> Limits {
    Limits {
        at_once: NonZeroU32::new(at_once).unwrap(),
        per_datastore: NonZeroU32::new(per_datastore).unwrap(),
        failure_budget: Share::Percent(100),
        cut_in_a_row: 0,
        ..Limits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_with_every_kind_of_trouble() {
    for seed in [1, 2] {
        println!("seed {seed}");
        let spec = FleetSpec { seed, vms: 120, datastores: 5, odd_percent: 40, first_percent: 20 };
        let folder = tempfile::tempdir().unwrap();
        let play = Play::new(fleet(spec), folder.path()).await.unwrap();
        let limits = limits(8, 2);
        let (id, took) = play.carry(&campaign(&play.world, limits.clone())).await.unwrap();
        let status = play.store.status(id).await.unwrap().summary;
        println!("{took:?} {:?} {:?}", status.done, check::ways(&play.ear.turns()));
        assert_eq!(status.state, CampaignState::Done, "{status:?}");
        check::caps(&play.world.log.entries(), &limits).unwrap();
        check::bytes(&play.world, &play.store.runs(id).await.unwrap()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_night_takes_hardly_longer_than_its_limits_ask_for() {
    let spec = FleetSpec { seed: 3, vms: 300, datastores: 8, odd_percent: 0, first_percent: 5 };
    let folder = tempfile::tempdir().unwrap();
    let play = Play::new(fleet(spec), folder.path()).await.unwrap();
    let limits = Limits { ramp: Vec::new(), ..limits(12, 2) };
    let (id, took) = play.carry(&campaign(&play.world, limits.clone())).await.unwrap();
    let bound = check::lower_bound(&play.world, &play.ear.turns(), &limits);
    println!("{took:?}, and at least {bound:?} are needed");
    // A few hundred have a long last turn; two thousand come within a twentieth (bench-campaign).
    assert!(took < bound * 115 / 100, "{took:?}, and {bound:?} would do");
    check::caps(&play.world.log.entries(), &limits).unwrap();
    check::bytes(&play.world, &play.store.runs(id).await.unwrap()).unwrap();
}
