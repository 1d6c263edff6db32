//! What lies below the datastore: whether the storage there hears of what came free.

use super::{DiskFacts, Finding, Layer, State, words};
use crate::model::{
    image::{Datastore, Underneath},
    volume::{PoolDiscards, ThinPool, Volume},
};

pub(super) fn finding(facts: &DiskFacts<'_>) -> Option<Finding> {
    let place = &facts.image?.place;
    match (&place.volume, &place.datastore) {
        (Some(Volume::Thin(thin)), _) => Some(pool(&thin.pool)),
        (None, Some(store)) => Some(filesystem(store)),
        _ => None,
    }
}

fn pool(pool: &ThinPool) -> Finding {
    match pool.discards {
        PoolDiscards::PassedDown => {
            Finding::new(Layer::Underneath, State::Open, "the pool passes discards on to its disks")
        }
        // A pool that ignores discards cuts already above this.
        PoolDiscards::Freed | PoolDiscards::Ignored => Finding::new(
            Layer::Underneath,
            State::Note,
            "the pool keeps discards to itself: its disks do not hear of them",
        )
        .fix("where the disks are thin or solid state: lvchange --discards passdown VG/POOL"),
    }
}

fn filesystem(store: &Datastore) -> Finding {
    let path = store.path.display();
    match &store.underneath {
        Underneath::Memory => Finding::new(Layer::Underneath, State::Open, "memory"),
        Underneath::Remote => {
            Finding::new(Layer::Underneath, State::Note, "another machine's storage: to be looked at there")
        }
        Underneath::Unknown => {
            Finding::new(Layer::Underneath, State::Unknown, format!("not known what lies below {path}"))
        }
        Underneath::Disk { name, discards: false, .. } => Finding::new(
            Layer::Underneath,
            State::Note,
            format!("{name} takes no discards: there is nobody to tell"),
        ),
        Underneath::Disk { name, .. } if store.has_option("discard") => Finding::new(
            Layer::Underneath,
            State::Open,
            format!("{path} is mounted with discard: {name} hears of it"),
        ),
        Underneath::Disk { name, timer: Some(true), .. } => Finding::new(
            Layer::Underneath,
            State::Open,
            format!("this host's fstrim.timer tells {name} once a week"),
        ),
        Underneath::Disk { name, timer: Some(false), .. } => Finding::new(
            Layer::Underneath,
            State::Note,
            format!("nothing tells {name} what came free: no discard option, no fstrim.timer"),
        )
        .fix("where the disk is thin or solid state, trim this host's filesystems once a week:")
        .paste("systemctl enable --now fstrim.timer"),
        Underneath::Disk { name, timer: None, .. } => Finding::new(
            Layer::Underneath,
            State::Unknown,
            format!("not known whether anything tells {name} what came free"),
        )
        .fix("where the disk is thin or solid state, trim the host's filesystem from time to time:")
        .paste(format!("fstrim -v {}", words::quoted(&store.path.to_string_lossy()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::samples::Sample;

    #[test]
    fn who_hears_of_it() {
        let disk = |discards, timer| Underneath::Disk { name: "sdb".into(), discards, timer };
        for (name, underneath, options, expected) in [
            ("memory", Underneath::Memory, "rw", State::Open),
            ("another machine", Underneath::Remote, "rw", State::Note),
            ("not known", Underneath::Unknown, "rw", State::Unknown),
            ("a disk that takes none", disk(false, Some(true)), "rw,discard", State::Note),
            ("at once", disk(true, Some(false)), "rw,discard", State::Open),
            ("at once, btrfs", disk(true, None), "rw,discard=async", State::Open),
            ("once a week", disk(true, Some(true)), "rw", State::Open),
            ("never", disk(true, Some(false)), "rw", State::Note),
            ("no systemd", disk(true, None), "rw", State::Unknown),
        ] {
            let mut sample = Sample::raw();
            let store = sample.datastore();
            (store.underneath, store.options) = (underneath, options.into());
            assert_eq!(finding(&sample.facts()).unwrap().state, expected, "{name}");
        }
    }

    #[test]
    fn a_path_in_a_line_to_paste_is_quoted() {
        let mut sample = Sample::raw();
        let store = sample.datastore();
        store.underneath = Underneath::Disk { name: "sdb".into(), discards: true, timer: None };
        store.path = "/srv/my guests".into();
        assert_eq!(finding(&sample.facts()).unwrap().fix.unwrap().paste, ["fstrim -v '/srv/my guests'"]);
    }
}
