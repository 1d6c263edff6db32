//! The gates of one host, and what they last said. An answer holds for a while: a command is not run for each run; and it
//! is waited for aside, so that a slow one keeps no order and no heartbeat waiting.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use tokio::{task::JoinSet, time::Instant};

use super::Settings;
use crate::campaign::gate;

/// What gates say together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Go on.
    Open,
    /// Not now, and why.
    Closed(String),
    /// One of them has still to answer.
    Asked,
}

/// Asks gates, not more often than their answers hold.
pub(super) struct Gates {
    settings: Settings,
    said: BTreeMap<String, (Instant, Option<String>)>,
    asked: BTreeSet<String>,
    asking: JoinSet<(String, Option<String>)>,
}

impl Gates {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, said: BTreeMap::new(), asked: BTreeSet::new(), asking: JoinSet::new() }
    }

    /// Whether anything may be begun now: the host's pressure, then these gates in their order.
    pub(super) fn answer(&mut self, names: &[String]) -> Answer {
        if let Some(why) = gate::pressed(Path::new(gate::PRESSURE), self.settings.io_pressure_percent) {
            return Answer::Closed(why);
        }
        let mut all = Answer::Open;
        for name in names {
            match self.fresh(name) {
                Some(None) => {}
                Some(Some(why)) => return Answer::Closed(format!("gate {name}: {why}")),
                None => {
                    self.ask(name);
                    all = Answer::Asked;
                }
            }
        }
        all
    }

    /// Waits until one has answered; never ends where none was asked.
    pub(super) async fn answered(&mut self) {
        match self.asking.join_next().await {
            Some(Ok((name, said))) => {
                self.asked.remove(&name);
                self.said.insert(name, (Instant::now(), said));
            }
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn fresh(&self, name: &str) -> Option<Option<String>> {
        let (at, said) = self.said.get(name)?;
        (at.elapsed() < self.settings.gate_holds).then(|| said.clone())
    }

    fn ask(&mut self, name: &str) {
        if !self.asked.insert(name.to_owned()) {
            return;
        }
        let gate = self.settings.gates.iter().find(|gate| gate.name == name).cloned();
        let name = name.to_owned();
        self.asking.spawn(async move {
            let said = match gate {
                Some(gate) => gate::ask(&gate).await.err(),
                None => Some("this host's trimtab.toml defines none of that name".to_owned()),
            };
            (name, said)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::gates::Gate;

    #[tokio::test]
    async fn the_first_closed_one_is_named_and_asked_once_in_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let asked = folder.path().join("asked");
        let script = |name: &str, end: &str| Gate {
            name: name.to_owned(),
            command: vec!["sh".into(), "-c".into(), format!("echo x >> {}; {end}", asked.display())],
            timeout: Duration::from_secs(10),
        };
        let settings = Settings {
            gates: vec![script("well", "exit 0"), script("ill", "echo degraded >&2; exit 2")],
            io_pressure_percent: 0,
            ..Settings::default()
        };
        let mut gates = Gates::new(settings);
        assert_eq!(answer(&mut gates, &[]).await, Answer::Open);
        assert_eq!(answer(&mut gates, &["well"]).await, Answer::Open);
        let closed = Answer::Closed("gate ill: sh: exit status: 2: degraded".to_owned());
        assert_eq!(answer(&mut gates, &["well", "ill"]).await, closed);
        assert_eq!(answer(&mut gates, &["ill"]).await, closed);
        assert_eq!(std::fs::read_to_string(&asked).unwrap(), "x\nx\n", "each was asked once");
        let Answer::Closed(why) = answer(&mut gates, &["none"]).await else { panic!("it is open") };
        assert!(why.starts_with("gate none: this host's trimtab.toml"), "{why}");
    }

    async fn answer(gates: &mut Gates, names: &[&str]) -> Answer {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        loop {
            match gates.answer(&names) {
                Answer::Asked => gates.answered().await,
                answer => return answer,
            }
        }
    }
}
