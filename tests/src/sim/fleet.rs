//! A fleet by a seed: the same one each time.

use std::{sync::Arc, time::Duration};

use trimtab_controller::campaign::{
    limits::Limits,
    run::{NewRun, VmKey},
    store::NewCampaign,
};

use super::{
    HOST, World,
    log::Log,
    vm::{Behaviour, SimVm, Spec},
};

/// Numbers out of a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to one less than `sides`, which is at least 1.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides.max(1)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.roll(most - least + 1)
    }
}

/// How a fleet is made.
#[derive(Clone, Copy, Debug)]
pub struct FleetSpec {
    /// The dice's.
    pub seed: u64,
    /// So many VMs.
    pub vms: u64,
    /// On so many datastores.
    pub datastores: u64,
    /// So many of a hundred misbehave, each in its way.
    pub odd_percent: u64,
    /// So many of a hundred were never trimmed.
    pub first_percent: u64,
}

/// Builds it. Of the VMs that misbehave none harms storage: that ends a campaign, and has tests of its own.
pub fn fleet(spec: FleetSpec) -> World {
    world(specs(spec))
}

/// How each of its VMs is made.
pub fn specs(fleet: FleetSpec) -> impl Iterator<Item = Spec> {
    let mut dice = Dice::new(fleet.seed);
    (0..fleet.vms).map(move |number| one(&mut dice, fleet, number))
}

/// A host that runs these VMs.
pub fn world(specs: impl Iterator<Item = Spec>) -> World {
    let log = Arc::new(Log::default());
    let vms = specs.map(|spec| Arc::new(SimVm::new(spec, Arc::clone(&log)))).collect();
    World::new(vms, log)
}

fn one(dice: &mut Dice, spec: FleetSpec, number: u64) -> Spec {
    let store = dice.roll(spec.datastores);
    let mut datastores = vec![store_name(store)];
    if spec.datastores > 1 && dice.roll(100) < 10 {
        datastores.push(store_name((store + 1) % spec.datastores));
    }
    let is_odd = dice.roll(100) < spec.odd_percent;
    let behaviour = if is_odd { odd(dice) } else { Behaviour::Well };
    Spec {
        name: format!("vm-{number:05}"),
        datastores,
        garbage_bytes: dice.between(1, 40) << 30,
        growth_bytes: if dice.roll(4) == 0 { dice.between(1, 200) << 20 } else { 0 },
        takes: Duration::from_secs(dice.between(5, 300)),
        latency: Duration::from_millis(dice.between(1, 400)),
        behaviour,
        is_first: dice.roll(100) < spec.first_percent,
    }
}

fn odd(dice: &mut Dice) -> Behaviour {
    match dice.roll(9) {
        0 => Behaviour::Off,
        1 => Behaviour::NoAgent,
        2 => Behaviour::Silent(2),
        3 => Behaviour::Hangs(1),
        4 => Behaviour::Fails(1),
        5 => Behaviour::Breaks,
        6 => Behaviour::Guarded(Duration::from_secs(dice.between(60, 7200))),
        7 => Behaviour::Damaged,
        _ => Behaviour::Cut,
    }
}

fn store_name(number: u64) -> String {
    format!("store-{number}")
}

/// A campaign over all VMs of a world, in the world's order.
pub fn campaign(world: &World, limits: Limits) -> NewCampaign {
    over(world.vms.iter().map(|vm| (HOST.to_owned(), &vm.spec)), limits)
}

/// A campaign over these VMs, in their order, each on its host.
pub fn over<'a>(vms: impl Iterator<Item = (String, &'a Spec)>, limits: Limits) -> NewCampaign {
    let runs = vms.zip(0..).map(|((host, spec), position)| NewRun {
        vm: VmKey { host, name: spec.name.clone(), uuid: None },
        datastores: spec.datastores.clone(),
        position,
        expected_bytes: spec.garbage_bytes,
        is_first: spec.is_first,
    });
    NewCampaign {
        name: "simulated".to_owned(),
        who: "test".to_owned(),
        plan: String::new(),
        limits,
        windows: Vec::new(),
        runs: runs.collect(),
    }
}
