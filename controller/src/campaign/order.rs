//! In which order VMs are trimmed: by benefit, so that a night that ends too early has done the most that it could. Pure.
//!
//! A disk's benefit is its slack times size ÷ free of its datastore: a byte counts as often as the datastore is larger
//! than what is left of it. Half full it counts twice, nine tenths full ten times, and never more than a hundred times. A
//! VM's benefit is that of its disks together. Where nothing is known of a disk's slack its benefit is 0: such VMs come
//! last. Equal ones go by name, so that the same survey always gives the same plan.

/// A datastore with less than a hundredth free counts as one with a hundredth.
const MOST_WEIGHT: u128 = 100;

/// What a benefit is drawn from: one disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gain {
    /// What a trim frees, in bytes, as far as is known.
    pub slack_bytes: u64,
    /// The datastore's size, in bytes; 0: a volume that shares its room with nobody.
    pub size_bytes: u64,
    /// What is free of it, in bytes.
    pub free_bytes: u64,
}

impl Gain {
    /// Its slack, in hundredths of bytes, as often as it counts.
    fn benefit(self) -> u128 {
        let size = u128::from(self.size_bytes);
        let least_free = size.div_ceil(MOST_WEIGHT).max(1);
        let free = u128::from(self.free_bytes).max(least_free);
        // 2^64 bytes times 2^64 has room in 128 bits; the hundred are taken off before.
        let weight_hundredths = size.saturating_mul(100).checked_div(free).unwrap_or(0).max(100);
        u128::from(self.slack_bytes).saturating_mul(weight_hundredths)
    }
}

/// The benefit of a VM with these disks: a number to compare, without a unit.
pub fn benefit(disks: &[Gain]) -> u128 {
    disks.iter().map(|disk| disk.benefit()).fold(0, u128::saturating_add)
}

/// The biggest benefit first, equal ones by name.
pub fn by_benefit<T>(vms: &mut [T], benefit: impl Fn(&T) -> u128, name: impl Fn(&T) -> &str) {
    vms.sort_by(|one, other| benefit(other).cmp(&benefit(one)).then_with(|| name(one).cmp(name(other))));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn gain(slack: u64, full_percent: u64) -> Gain {
        let size_bytes = 1000 * GIB;
        Gain { slack_bytes: slack * GIB, size_bytes, free_bytes: size_bytes / 100 * (100 - full_percent) }
    }

    #[test]
    fn the_fuller_the_sooner() {
        for (name, sooner, later) in [
            ("more slack", gain(20, 50), gain(10, 50)),
            ("a fuller datastore", gain(10, 90), gain(10, 50)),
            ("a fifth of the slack, a tenth of the room", gain(20, 95), gain(100, 50)),
            ("nothing to free on a full one", gain(1, 0), gain(0, 100)),
            ("a volume of its own", Gain { slack_bytes: GIB, ..Gain::default() }, Gain::default()),
        ] {
            assert!(benefit(&[sooner]) > benefit(&[later]), "{name}");
        }
        let hundredfold = benefit(&[gain(1, 99)]);
        assert_eq!(benefit(&[gain(1, 100)]), hundredfold, "full counts as a hundredth free");
        assert_eq!(hundredfold, benefit(&[gain(100, 0)]), "and that a hundred times");
        assert_eq!(benefit(&[gain(1, 50)]), benefit(&[gain(2, 0)]), "half full counts twice");
        assert_eq!(benefit(&[gain(1, 50), gain(2, 90)]), benefit(&[gain(22, 0)]), "disks add up");
    }

    #[test]
    fn equal_ones_go_by_name() {
        let mut vms = [("b", 1), ("c", 2), ("a", 1)];
        by_benefit(&mut vms, |vm| vm.1, |vm| vm.0);
        assert_eq!(vms.map(|vm| vm.0), ["c", "a", "b"]);
    }

    fn any_gain() -> impl Strategy<Value = Gain> {
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(slack_bytes, size_bytes, free_bytes)| Gain {
            slack_bytes,
            size_bytes,
            free_bytes,
        })
    }

    proptest! {
        #[test]
        fn more_slack_or_less_room_never_lowers_it(gain in any_gain(), more: u64, less: u64) {
            let benefit = |gain| super::benefit(&[gain]);
            let slack = Gain { slack_bytes: gain.slack_bytes.saturating_add(more), ..gain };
            let room = Gain { free_bytes: gain.free_bytes.saturating_sub(less), ..gain };
            prop_assert!(benefit(slack) >= benefit(gain));
            prop_assert!(benefit(room) >= benefit(gain));
        }

        #[test]
        fn the_order_depends_on_nothing_else(mut vms in proptest::collection::vec(("[a-c]{1,3}", 0..4_u128), 0..20)) {
            vms.sort();
            vms.dedup_by(|one, other| one.0 == other.0);
            let sorted = |mut vms: Vec<(String, u128)>| {
                by_benefit(&mut vms, |vm| vm.1, |vm| &vm.0);
                vms
            };
            let mut reversed = vms.clone();
            reversed.reverse();
            let once = sorted(vms);
            prop_assert_eq!(&once, &sorted(reversed));
            prop_assert!(once.windows(2).all(|pair| pair[0].1 >= pair[1].1));
        }
    }
}
