//! An image that is a block device: a thin volume, whose pool counts what it maps, or one that owns its blocks.

use super::{DiskFacts, Finding, Guard, Layer, State, words};
use crate::model::volume::{PoolDiscards, ThinVolume, Volume};

/// Above this a discard, which changes the pool's tree, is a risk for all volumes of the pool.
const MOST_METADATA_PERCENT: u64 = 80;

/// More names than this are counted.
const NAMES_SHOWN: usize = 3;

pub(super) fn findings(facts: &DiskFacts<'_>) -> Vec<Finding> {
    match facts.image.and_then(|image| image.place.volume.as_ref()) {
        None => Vec::new(),
        Some(Volume::Thin(thin)) => thin_findings(thin),
        Some(Volume::Thick { kind, name }) => {
            let short = if *kind == "logical volume" { "thick LV" } else { "whole device" };
            let text = format!("{name} is a {kind} that owns its blocks: what comes free is not seen here");
            vec![
                Finding::new(Layer::Volume, State::Unknown, text).short(short).fix(
                    "what it discards goes to the storage below it; a thin volume or a file would show it",
                ),
            ]
        }
        Some(Volume::Unknown(why)) => vec![
            Finding::new(Layer::Volume, State::Unknown, format!("a block device of which {why}"))
                .short("volume not known")
                .fix("run as root, with dmsetup installed"),
        ],
    }
}

fn thin_findings(thin: &ThinVolume) -> Vec<Finding> {
    let pool = &thin.pool;
    let about = format!(
        "thin, pool of {} pieces, {} % full, metadata {} %",
        words::size(pool.chunk_bytes),
        pool.data.percent(),
        pool.metadata.percent()
    );
    let mut found = vec![match pool.discards {
        PoolDiscards::PassedDown | PoolDiscards::Freed => Finding::new(Layer::Volume, State::Open, about),
        PoolDiscards::Ignored => {
            Finding::new(Layer::Volume, State::Cut, format!("the pool ignores discards ({about})"))
                .short("pool cuts")
                .fix("with the pool's volumes inactive: lvchange --discards passdown VG/POOL")
        }
    }];
    if let Some(relatives) = thin.relatives.as_ref().filter(|relatives| !relatives.is_empty()) {
        let shown: Vec<&str> = relatives.iter().take(NAMES_SHOWN).map(String::as_str).collect();
        let more = relatives.len().saturating_sub(shown.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        found.push(
            Finding::new(
                Layer::Volume,
                State::Note,
                format!("blocks that {}{more} shares come free only with both", shown.join(", ")),
            )
            .short("LV snapshot")
            .warns()
            .fix("removing a snapshot gives its blocks back, and there is no way back to it: the choice is yours"),
        );
    }
    found
}

/// A pool that is in trouble, or would be.
pub(super) fn guard(facts: &DiskFacts<'_>) -> Option<Guard> {
    let Some(Volume::Thin(thin)) = facts.image.and_then(|image| image.place.volume.as_ref()) else {
        return None;
    };
    let pool = &thin.pool;
    let percent = pool.metadata.percent();
    let (text, short) = match &pool.trouble {
        Some(trouble) => (format!("the thin pool {} {trouble}", pool.name), "pool in trouble"),
        None if percent >= MOST_METADATA_PERCENT => (
            format!(
                "the metadata of the thin pool {} is {percent} % full, and a trim changes it: lvextend \
                 --poolmetadatasize first",
                pool.name
            ),
            "pool metadata full",
        ),
        None => return None,
    };
    Some(Guard { layer: Layer::Volume, text, short: short.to_owned(), passes_by_itself: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layers::{guard as any_guard, samples::Sample},
        model::volume::{Fill, ThinPool},
    };

    fn thin() -> ThinVolume {
        ThinVolume {
            name: "vg0-web".into(),
            mapped_bytes: 1 << 30,
            pool: ThinPool {
                id: "253:4".into(),
                name: "vg0-pool-tpool".into(),
                chunk_bytes: 65536,
                data: Fill { size_bytes: 100, used_bytes: 63 },
                metadata: Fill { size_bytes: 100, used_bytes: 12 },
                discards: PoolDiscards::PassedDown,
                trouble: None,
            },
            relatives: Some(Vec::new()),
        }
    }

    fn on(volume: Volume) -> Sample {
        let mut sample = Sample::raw();
        sample.image.place.volume = Some(volume);
        sample
    }

    fn changed(change: impl FnOnce(&mut ThinVolume)) -> Sample {
        let mut one = thin();
        change(&mut one);
        on(Volume::Thin(one))
    }

    #[test]
    fn states() {
        let cases = [
            ("thin", on(Volume::Thin(thin())), vec![State::Open]),
            (
                "with a snapshot",
                changed(|t| t.relatives = Some(vec!["vg0/old".into()])),
                vec![State::Open, State::Note],
            ),
            ("nobody could be asked", changed(|t| t.relatives = None), vec![State::Open]),
            ("ignored", changed(|t| t.pool.discards = PoolDiscards::Ignored), vec![State::Cut]),
            (
                "thick",
                on(Volume::Thick { kind: "logical volume", name: "vg0-db".into() }),
                vec![State::Unknown],
            ),
            ("no rights", on(Volume::Unknown("dmsetup is not installed".into())), vec![State::Unknown]),
            ("a file", Sample::raw(), vec![]),
        ];
        for (name, sample, expected) in cases {
            let found: Vec<State> = findings(&sample.facts()).iter().map(|f| f.state).collect();
            assert_eq!(found, expected, "{name}");
        }
        let said = findings(&on(Volume::Thin(thin())).facts()).remove(0).text;
        assert_eq!(said, "thin, pool of 64.0 KiB pieces, 63 % full, metadata 12 %");
    }

    #[test]
    fn pools_that_are_left_alone() {
        for (name, sample, expected) in [
            ("healthy", changed(|_| ()), false),
            ("metadata at the limit", changed(|t| t.pool.metadata.used_bytes = 80), true),
            ("just below", changed(|t| t.pool.metadata.used_bytes = 79), false),
            ("read-only", changed(|t| t.pool.trouble = Some("is read-only".into())), true),
        ] {
            let said = any_guard(&sample.facts(), &[]);
            assert_eq!(said.is_some(), expected, "{name}");
            assert!(said.is_none_or(|guard| !guard.passes_by_itself), "{name}");
        }
    }
}
