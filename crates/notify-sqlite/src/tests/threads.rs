//! The threads of the store: who waits for whom, and what a bug costs.

use std::sync::mpsc::channel;

use super::*;

#[tokio::test]
async fn a_token_is_read_while_every_long_read_is_busy() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("a", JobEvent::queued())).await;
    let mut going = Vec::new();
    let mut busy = Vec::new();
    for _ in 0..4 {
        let (go_on, wait) = channel::<()>();
        going.push(go_on);
        busy.push(store.read_with(move |_| {
            let _ = wait.recv();
            Ok(())
        }));
    }
    let looked = tokio::time::timeout(Duration::from_secs(10), store.token(&job("a")));
    assert_eq!(looked.await.unwrap(), Ok(None));
    drop(going);
    for busy in busy {
        busy.await.unwrap();
    }
}

#[tokio::test]
async fn a_read_that_panics_costs_its_caller_alone() {
    let bench = Bench::new();
    let store = bench.open();
    for _ in 0..5 {
        let panics = store.read_with::<()>(|_| panic!("a bug"));
        assert!(matches!(panics.await, Err(StoreError::Failed(_))));
    }
    assert!(store.job(&job("a")).await.unwrap().is_none());
    accept(&store, bench.append("a", JobEvent::queued())).await;
    assert!(store.job(&job("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_write_that_panics_is_the_end_and_says_so() {
    let bench = Bench::new();
    let store = bench.open();
    accept(&store, bench.append("a", JobEvent::queued())).await;
    assert!(store.panic_in_writer().await.is_err());
    let why = StoreError::Failed("the writing thread has panicked".to_owned());
    let claimed = store.claim(NOW, plenty(), 1).await;
    assert_eq!(claimed.err(), Some(why.clone()));
    assert_eq!(store.counters().await, Err(why.clone()));
    assert_eq!(store.job(&job("a")).await.err(), Some(why));
    drop(store);
    let store = bench.open();
    assert!(store.job(&job("a")).await.unwrap().is_some());
}
