//! Hosts of other versions, as bytes (proto/tests/wire).

use prost::Message;
use trimtab_proto::{v1, words::Pace};

use super::run::order;

/// Reads a fixture: hexadecimal bytes, and words behind `#`.
fn wire<M: Message + Default>(text: &str) -> M {
    let digits = text.lines().flat_map(|line| line.split('#').next().unwrap().split_whitespace());
    let bytes: Vec<u8> = digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    M::decode(bytes.as_slice()).unwrap()
}

macro_rules! fixture {
    ($name:literal) => {
        wire::<v1::TrimRequest>(include_str!(concat!("../../../proto/tests/wire/", $name, ".hex")))
    };
}

#[test]
fn an_older_host_gets_the_old_behaviour() {
    let order = order(&fixture!("trim-older"), Pace::Steady).unwrap();
    assert_eq!((order.pace, order.again, order.also_types.len()), (Pace::Steady, false, 0));
    assert_eq!((order.linger.as_secs(), order.deadline.unwrap().as_secs()), (0, 60));
    assert_eq!((order.targets.len(), order.targets[0].min_extent), (1, 0));
}

#[test]
fn a_newer_host_is_understood_as_far_as_it_goes() {
    let order = order(&fixture!("trim-newer"), Pace::Steady).unwrap();
    assert_eq!((order.pace, order.targets[0].min_extent, order.linger.as_secs()), (Pace::Gentle, 65_536, 5));
}

#[test]
fn what_is_asked_for_and_not_known_is_refused_and_not_guessed() {
    let refused = order(&fixture!("trim-newer-pace"), Pace::Steady).unwrap_err();
    assert_eq!(refused, "pace 9 is not known to this agent");
}
