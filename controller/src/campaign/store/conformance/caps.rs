//! How many at once: counted over all campaigns of the store.

use super::*;

pub(crate) async fn at_once(store: &impl Store, _: &TestClock) {
    let id = store.apply(&campaign(3, Limits { at_once: n(2), ..loose() })).await.unwrap();
    let first = take(store, id).await;
    take(store, id).await;
    assert_eq!(none(store, id).await, Wait::Room);
    store.finish(&first, &result(Class::Reclaimed, 0)).await.unwrap();
    take(store, id).await;
}

pub(crate) async fn per_host(store: &impl Store, _: &TestClock) {
    let one = Limits { per_host: Some(n(1)), ..loose() };
    let mut new = campaign(3, one);
    new.runs[2].vm.host = "other".into();
    let id = store.apply(&new).await.unwrap();
    let mut beside = campaign(1, loose());
    beside.runs[0].vm.name = "another".into();
    let beside = store.apply(&beside).await.unwrap();
    take(store, id).await;
    assert_eq!(none(store, id).await, Wait::Room);
    assert_eq!(none(store, beside).await, Wait::Room, "the smaller cap binds while its campaign runs there");
    let other = Claimant { host: "other".into(), worker: "w".into() };
    assert!(matches!(store.claim(id, &other).await.unwrap(), Claim::Run(_)));
}

pub(crate) async fn per_datastore_over_campaigns(store: &impl Store, _: &TestClock) {
    let two = Limits { per_datastore: n(2), ..loose() };
    let first = store.apply(&campaign(3, two.clone())).await.unwrap();
    let mut new = campaign(3, Limits { datastores: [("d".to_owned(), n(3))].into(), ..two });
    new.runs.iter_mut().for_each(|run| run.vm.name.push('b'));
    let second = store.apply(&new).await.unwrap();
    take(store, second).await;
    take(store, first).await;
    assert_eq!(none(store, first).await, Wait::Room, "two of two, one of them another campaign's");
    assert_eq!(none(store, second).await, Wait::Room, "two of three, but the other campaign allows two");
}

pub(crate) async fn a_full_datastore_idles_nobody(store: &impl Store, _: &TestClock) {
    let mut new = campaign(6, Limits { per_datastore: n(1), ..loose() });
    new.runs[4].datastores = vec!["e".into()];
    let id = store.apply(&new).await.unwrap();
    assert_eq!(take(store, id).await.vm.name, "vm0");
    assert_eq!(take(store, id).await.vm.name, "vm4", "passes those that lie on the full one");
    assert_eq!(none(store, id).await, Wait::Room);
}

pub(crate) async fn a_vm_on_several(store: &impl Store, _: &TestClock) {
    let mut new = campaign(3, Limits { per_datastore: n(1), ..loose() });
    new.runs[0].datastores = vec!["d".into(), "e".into()];
    new.runs[1].datastores = vec!["e".into(), "f".into()];
    new.runs[2].datastores = vec!["f".into()];
    let id = store.apply(&new).await.unwrap();
    let wide = take(store, id).await;
    assert_eq!(take(store, id).await.vm.name, "vm2", "vm1 needs e, which the first has");
    store.finish(&wide, &result(Class::Reclaimed, 0)).await.unwrap();
    assert_eq!(none(store, id).await, Wait::Room, "now f is taken");
}

pub(crate) async fn first_trims_one_by_one(store: &impl Store, _: &TestClock) {
    let mut new = campaign(5, loose());
    for heavy in [0, 1, 3] {
        new.runs[heavy].is_first = true;
    }
    new.runs[3].datastores = vec!["e".into()];
    let id = store.apply(&new).await.unwrap();
    let mut names = Vec::new();
    let first = take(store, id).await;
    for _ in 0..3 {
        names.push(take(store, id).await.vm.name);
    }
    assert_eq!(names, ["vm2", "vm3", "vm4"], "vm1 waits for the first's end, on its datastore");
    assert_eq!(none(store, id).await, Wait::Room);
    store.finish(&first, &result(Class::Reclaimed, 0)).await.unwrap();
    assert_eq!(take(store, id).await.vm.name, "vm1");
}

pub(crate) async fn a_vm_runs_once(store: &impl Store, _: &TestClock) {
    let first = store.apply(&campaign(2, loose())).await.unwrap();
    let second = store.apply(&campaign(1, loose())).await.unwrap();
    let claimed = take(store, first).await;
    assert_eq!(claimed.vm.name, "vm0");
    assert_eq!(none(store, second).await, Wait::Room);
    store.finish(&claimed, &result(Class::Reclaimed, 0)).await.unwrap();
    assert_eq!(take(store, second).await.vm.name, "vm0");
}
