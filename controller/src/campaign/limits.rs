//! What a campaign may do: as the plan says it and as the store keeps it.

use std::{collections::BTreeMap, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use trimtab_proto::words::Pace;

/// The limits of one campaign.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Runs at once, over all hosts.
    pub at_once: NonZeroU32,
    /// Runs at once on each host; `None`: `at_once` alone counts.
    pub per_host: Option<NonZeroU32>,
    /// Runs at once on each datastore that `datastores` does not name. A VM on several counts on each.
    pub per_datastore: NonZeroU32,
    /// Runs at once on these datastores, by their identity.
    pub datastores: BTreeMap<String, NonZeroU32>,
    /// How many VMs each stage admits before its verdicts are waited for; after the last one only the caps hold.
    pub ramp: Vec<Share>,
    /// Admission stops when so many have failed.
    pub failure_budget: Share,
    /// Admit only while failed + running < the budget, so that it cannot be overshot.
    pub strict: bool,
    /// Admission stops when so many runs in a row ended cut or held; 0: never.
    pub cut_in_a_row: u32,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// Gates of the host's trimtab.toml that must be open before a run is admitted, by name.
    pub gates: Vec<String>,
    /// How fast the guests trim; `None`: as each agent's owner says.
    pub pace: Option<Pace>,
    /// A single turn is cancelled after this, in seconds.
    pub deadline_secs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let at_most = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            at_once: at_most(4),
            per_host: None,
            per_datastore: at_most(2),
            datastores: BTreeMap::new(),
            ramp: vec![Share::Count(1), Share::Count(5), Share::Percent(10)],
            failure_budget: Share::Percent(10),
            strict: false,
            cut_in_a_row: 3,
            retries: 2,
            gates: Vec::new(),
            pace: None,
            deadline_secs: Duration::from_secs(4 * 60 * 60).as_secs(),
        }
    }
}

/// So many VMs, or a share of all VMs of the campaign: `5` or `"10 %"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// VMs.
    Count(u32),
    /// Of all, 1 to 100.
    Percent(u8),
}

impl Share {
    /// How many of `total` that is: rounded up and at least 1, so that a small fleet is not left out by arithmetic.
    pub fn of(self, total: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u64::from(total).saturating_mul(percent.into()).div_ceil(100);
                u32::try_from(part).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// A text that is no share.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected a number of VMs from 1, or \"1 %\" to \"100 %\"")]
pub struct NotAShare;

impl FromStr for Share {
    type Err = NotAShare;

    /// "5", "10 %", "10%".
    fn from_str(text: &str) -> Result<Self, NotAShare> {
        let share = match text.strip_suffix('%') {
            Some(number) => {
                let percent = number.trim_end().parse().ok().filter(|percent| (1..=100).contains(percent));
                percent.map(Self::Percent)
            }
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count),
        };
        share.ok_or(NotAShare)
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(percent) => serializer.serialize_str(&format!("{percent} %")),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Count(u32),
            Text(String),
        }
        let share = match Written::deserialize(deserializer) {
            Ok(Written::Count(count)) => Some(Self::Count(count)).filter(|_| count > 0),
            // A bare number in quotes is one, too.
            Ok(Written::Text(text)) => text.parse().ok(),
            Err(_) => None,
        };
        share.ok_or_else(|| serde::de::Error::custom(NotAShare))
    }
}
