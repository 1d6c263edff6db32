//! What travels when: a store and a host that write down what they were asked.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::{
    campaign::store::fleet::PublishedHost, layers::samples::Sample, model::trouble::Kind,
    trim::fakes::look_of,
};

#[derive(Default)]
struct Store {
    /// "since 3: +a -b".
    told: Mutex<Vec<String>>,
    revision: Mutex<i64>,
    is_away: AtomicBool,
}

impl Fleet for Store {
    async fn publish(&self, _: &Claimant, news: &News) -> Result<Option<i64>, Trouble> {
        let mut revision = self.revision.lock().unwrap();
        if self.is_away.load(Ordering::SeqCst) {
            return Err(Trouble::new(Kind::Store, "away"));
        }
        if news.since.is_some_and(|since| since != *revision) {
            return Ok(None);
        }
        let how = |seen: bool| if seen { '+' } else { '?' };
        let changed = news.changed.iter().map(|vm| format!(" {}{}", how(vm.seen.is_some()), vm.name));
        let gone = news.gone.iter().map(|name| format!(" -{name}"));
        let words: String = changed.chain(gone).collect();
        if !words.is_empty() {
            *revision += 1;
            let all = if news.since.is_none() { "all:" } else { "" };
            self.told.lock().unwrap().push(format!("{all}{words}"));
        }
        Ok(Some(*revision))
    }

    async fn published(&self) -> Result<Vec<PublishedHost>, Trouble> {
        Ok(Vec::new())
    }
}

impl Store {
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

#[derive(Default)]
struct Host {
    names: Mutex<Vec<&'static str>>,
    looks: Mutex<Vec<String>>,
    datastores: DatastoreNames,
}

impl Sights for Host {
    async fn list(&self) -> Result<Vec<Vm>, Trouble> {
        Ok(self.names.lock().unwrap().iter().map(|name| Vm::named(*name)).collect())
    }

    async fn look(&self, vm: &Vm) -> Result<Look, Trouble> {
        self.looks.lock().unwrap().push(vm.name.clone());
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(look_of(&[Sample::raw()]))
    }

    fn names(&self) -> &DatastoreNames {
        &self.datastores
    }
}

const PACE: Pace = Pace { every: Duration::from_secs(15), look_after: Duration::from_secs(1800), at_once: 2 };

/// Publishes for so long.
async fn publish(publisher: &Publisher<'_, Store, Host>, secs: u64) {
    drop(timeout(Duration::from_secs(secs), publisher.keep()).await);
}

fn publisher<'a>(
    fleet: &'a Store,
    sights: &'a Host,
    listener: Arc<dyn Listener>,
) -> Publisher<'a, Store, Host> {
    Publisher {
        fleet,
        sights,
        by: Claimant { host: "h".into(), worker: "w".into() },
        about: SeenHost::default(),
        pace: PACE,
        ended: Ended::new(listener),
    }
}

#[tokio::test(start_paused = true)]
async fn guests_are_asked_a_few_at_a_time_and_seldom() {
    let (store, host) = (Store::default(), Host::default());
    *host.names.lock().unwrap() = vec!["a", "b", "c"];
    let publisher = publisher(&store, &host, Arc::new(|_: Said<'_>| {}));
    publish(&publisher, 1700).await;
    assert_eq!(
        store.told(),
        ["all: ?a ?b ?c", " +a +b", " +c"],
        "who is there is told before anybody was asked"
    );
    assert_eq!(host.looks.lock().unwrap().len(), 3);
    // The next worker knows nothing of this one.
    host.looks.lock().unwrap().clear();
    publish(&publisher, 1900).await;
    assert_eq!(store.told(), ["all: ?a ?b ?c", " +a +b", " +c"], "and then they are as they were");
    assert_eq!(host.looks.lock().unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_away_or_put_back_is_told_all_anew() {
    let (store, host) = (Store::default(), Host::default());
    *host.names.lock().unwrap() = vec!["a"];
    let troubles = Arc::new(Mutex::new(0));
    let heard = Arc::clone(&troubles);
    let listener = move |said: Said<'_>| {
        *heard.lock().unwrap() += i32::from(matches!(said, Said::Unpublished(_)));
    };
    let publisher = publisher(&store, &host, Arc::new(listener));
    let later = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        store.told();
        store.is_away.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(100)).await;
        store.is_away.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(store.told(), ["all: +a"]);
        *store.revision.lock().unwrap() = 77;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(store.told(), ["all: +a"]);
        host.names.lock().unwrap().clear();
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(store.told(), [" -a"]);
    };
    tokio::select! {
        () = publisher.keep() => {}
        () = later => {}
    }
    assert_eq!(*troubles.lock().unwrap(), 0, "the worker says it");
}

#[test]
fn only_what_is_refused_is_said_here() {
    let away = || Err(Trouble::new(Kind::Store, "away"));
    let mut complaint = Complaint::default();
    let mut said = |told: Result<(), Trouble>, before, after| match complaint.about(&told, before, after) {
        None => "",
        Some(Said::Unpublished(_)) => "unpublished",
        Some(Said::Published) => "published",
        Some(other) => panic!("{other:?}"),
    };
    for (name, told, before, after, expected) in [
        ("it may be the store", away(), 7, 7, ""),
        ("so it is", away(), 7, 7, ""),
        ("it was back while this was under way", away(), 7, 9, ""),
        ("all is well", Ok(()), 9, 9, ""),
        ("refused", away(), 9, 10, ""),
        ("the store answers, and refuses this", away(), 11, 12, "unpublished"),
        ("once", away(), 13, 14, ""),
        ("it is mended", Ok(()), 15, 16, "published"),
        ("once", Ok(()), 17, 17, ""),
    ] {
        assert_eq!(said(told, before, after), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_is_looked_at_again_at_once() {
    use crate::campaign::{run::Class, store::conformance::result};
    let (store, host) = (Store::default(), Host::default());
    *host.names.lock().unwrap() = vec!["a", "b"];
    let publisher = publisher(&store, &host, Arc::new(|_: Said<'_>| {}));
    let later = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        host.looks.lock().unwrap().clear();
        let claimed = crate::campaign::worker::ending::tests::claimed(None);
        let mut of_b = claimed.clone();
        of_b.vm.name = "b".into();
        publisher.ended.say(Said::Ended(&of_b, &result(Class::Reclaimed, 1)));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(*host.looks.lock().unwrap(), ["b"]);
    };
    tokio::select! {
        () = publisher.keep() => {}
        () = later => {}
    }
}

#[test]
fn several_words_in_each_lease() {
    for (lease, every) in [(1000, 250), (2000, 500), (60_000, 15_000), (600_000, 15_000)] {
        assert_eq!(Pace::within(Duration::from_millis(lease)).every, Duration::from_millis(every));
    }
}
