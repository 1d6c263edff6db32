//! Windows, and a clock that jumps.

use super::*;
use crate::campaign::account::CampaignState;

pub(crate) async fn only_inside(store: &impl Store, clock: &TestClock) {
    let mut new = campaign(3, loose());
    new.windows = vec![(at(3600), at(7200)), (at(90_000), at(93_600))];
    let id = store.apply(&new).await.unwrap();
    let Claim::Nothing { why: Wait::Window, next: Some(next) } = store.claim(id, &worker()).await.unwrap()
    else {
        panic!("before the first window")
    };
    assert_eq!(next, Duration::from_secs(3600));
    store.heartbeat(&worker(), None, &[]).await.unwrap();
    let status = store.status(id).await.unwrap();
    assert_eq!(status.next, Some(at(3600)));
    assert_eq!(status.waiting.into_iter().collect::<Vec<_>>(), [(Wait::Window, 3)]);
    clock.to(at(3600));
    let claimed = take(store, id).await;
    assert_eq!((claimed.until, claimed.remaining), (Some(at(7200)), Some(Duration::from_secs(3600))));
    clock.to(at(7201));
    assert_eq!(none(store, id).await, Wait::Window);
    assert_eq!(store.status(id).await.unwrap().window, Some((at(90_000), at(93_600))));
}

pub(crate) async fn expected_must_fit(store: &impl Store, clock: &TestClock) {
    let mut new = campaign(14, loose());
    new.windows = vec![(at(0), at(3600)), (at(90_000), at(93_600))];
    let id = store.apply(&new).await.unwrap();
    clock.to(at(3600 - 599));
    assert_eq!(none(store, id).await, Wait::Window, "ten minutes, where nothing is known");
    clock.to(at(1));
    for _ in 0..12 {
        let claimed = take(store, id).await;
        let took = RunResult { duration_ms: 60_000, ..result(Class::Reclaimed, 0) };
        store.finish(&claimed, &took).await.unwrap();
    }
    clock.to(at(3600 - 60));
    let last = take(store, id).await;
    store.later(&last, &later(Wait::Retry, 0)).await.unwrap();
    clock.to(at(3600 - 59));
    assert_eq!(none(store, id).await, Wait::Window);
}

pub(crate) async fn after_the_last_it_stops(store: &impl Store, clock: &TestClock) {
    let mut new = campaign(2, loose());
    new.windows = vec![(at(0), at(3600))];
    let id = store.apply(&new).await.unwrap();
    let running = take(store, id).await;
    clock.to(at(3600));
    assert_eq!(none(store, id).await, Wait::Campaign);
    let summary = store.status(id).await.unwrap().summary;
    assert_eq!(summary.state, CampaignState::Stopped);
    assert!(summary.why.unwrap().starts_with("no window is left"));
    store.finish(&running, &result(Class::Reclaimed, 9)).await.unwrap();
    assert_eq!(store.status(id).await.unwrap().summary.freed_bytes, 9, "what ran is counted");
}

/// An hour forth and back: nothing is lost, nothing runs twice, nothing waits for ever.
pub(crate) async fn clock_jumps(store: &impl Store, clock: &TestClock) {
    let id = store.apply(&campaign(3, loose())).await.unwrap();
    let first = take(store, id).await;
    clock.forward(Duration::from_secs(3600));
    let second = take(store, id).await;
    store.later(&second, &later(Wait::Retry, 60)).await.unwrap();
    clock.back(Duration::from_secs(7200));
    store.finish(&first, &result(Class::Reclaimed, 1)).await.unwrap();
    let third = take(store, id).await;
    assert_eq!(third.vm.name, "vm2");
    assert_eq!(none(store, id).await, Wait::Retry);
    let Claim::Nothing { next: Some(next), .. } = store.claim(id, &worker()).await.unwrap() else {
        panic!("a time")
    };
    assert_eq!(next, Duration::from_secs(7260), "it comes, if late");
    clock.forward(Duration::from_secs(7260));
    let again = take(store, id).await;
    assert!(again.fence > second.fence);
    assert_eq!(again.run, second.run);
}
