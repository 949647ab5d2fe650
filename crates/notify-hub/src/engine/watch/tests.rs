//! Ways in which a task may end, and what comes of it.

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use notify_core::transport::RecordingTransport;

use super::*;
use crate::engine::{Engine, Parts};
use crate::{MemoryStore, NotifierConfig, SystemClock, config::Settings};

fn engine() -> Engine {
    Engine::new(Parts {
        settings: Settings::new(&NotifierConfig::default()).unwrap(),
        transport: Arc::new(RecordingTransport::default()),
        store: Arc::new(MemoryStore::default()),
        clock: Arc::new(SystemClock),
        seed: 7,
    })
}

#[track_caller]
fn check(engine: &Engine, expected: Option<&str>) {
    let failure = engine.shared.failure.get().map(ToString::to_string);
    assert_eq!(failure.as_deref(), expected);
    assert_eq!(engine.is_ready(), expected.is_none());
}

#[tokio::test]
async fn a_task_that_panics_is_the_end() {
    let engine = engine();
    let work = async { panic!("a bug") };
    watch(Arc::clone(&engine.shared), "dispatcher", work).await;
    check(
        &engine,
        Some("the dispatcher has ended: it panicked: a bug"),
    );
    engine.failed().await;
}

#[tokio::test]
async fn a_task_that_stops_by_itself_is_the_end() {
    let engine = engine();
    watch(Arc::clone(&engine.shared), "committer", ready(())).await;
    check(
        &engine,
        Some("the committer has ended: it stopped by itself"),
    );
    engine.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn a_task_that_is_asked_to_stop_is_not() {
    let engine = engine();
    engine.shared.advance(Phase::Draining);
    watch(Arc::clone(&engine.shared), "dispatcher", ready(())).await;
    assert_eq!(engine.shared.failure.get(), None);
}

#[test]
fn a_runtime_that_ends_first_is_the_end() {
    let engine = engine();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        engine.start().unwrap();
        tokio::task::yield_now().await;
    });
    check(&engine, None);
    drop(runtime);
    assert!(!engine.is_ready());
    let failure = engine.shared.failure.get().unwrap().to_string();
    assert!(failure.ends_with("its runtime has ended"), "{failure}");
}

#[tokio::test]
async fn an_engine_that_is_dropped_has_not_failed() {
    let engine = engine();
    let shared = Arc::clone(&engine.shared);
    let task = tokio::spawn(watch(Arc::clone(&shared), "committer", pending()));
    tokio::task::yield_now().await;
    drop(engine);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(shared.failure.get(), None);
}
