//! Several VMs side by side. One VM's failure, hang or panic is its own.

use std::{future::Future, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::model::trouble::{Kind, Trouble};

/// Runs `work` for each item, at most `parallel` at a time, and gives the results in the items' order.
pub async fn side_by_side<T, R, F, W>(items: Vec<T>, parallel: usize, work: W) -> Vec<Result<R, Trouble>>
where
    T: Send + 'static,
    R: Send + 'static,
    F: Future<Output = Result<R, Trouble>> + Send + 'static,
    W: Fn(T) -> F,
{
    let slots = Arc::new(Semaphore::new(parallel.max(1)));
    let mut tasks = JoinSet::new();
    let mut results: Vec<Result<R, Trouble>> = Vec::new();
    let mut index_of = std::collections::HashMap::new();
    for (index, item) in items.into_iter().enumerate() {
        results.push(Err(Trouble::new(Kind::Internal, "this VM's turn ended without a result")
            .hint("this is a defect of trimtab: please report it")));
        let (slots, turn) = (Arc::clone(&slots), work(item));
        let task = tasks.spawn(async move {
            // The semaphore is never closed; without a permit the turn runs all the same.
            let _slot = slots.acquire_owned().await;
            turn.await
        });
        index_of.insert(task.id(), index);
    }
    while let Some(ended) = tasks.join_next_with_id().await {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            // The panic's own message is already on stderr.
            Err(_) => continue,
        };
        if let Some(slot) = index_of.get(&id).and_then(|index| results.get_mut(*index)) {
            *slot = result;
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn a_panic_is_one_items_own() {
        let results = side_by_side(vec![1, 2, 3], 2, |n| async move {
            assert!(n != 2, "two");
            Ok(n)
        })
        .await;
        assert_eq!(results[0], Ok(1));
        assert_eq!(results[1].as_ref().unwrap_err().kind, Kind::Internal);
        assert_eq!(results[2], Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_asked_for_at_a_time_and_in_order() {
        let now = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let results = side_by_side((0..10_u64).collect(), 3, |n| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100 - n)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(n)
            }
        })
        .await;
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert_eq!(results, (0..10).map(Ok).collect::<Vec<_>>());
    }
}
