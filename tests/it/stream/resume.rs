//! Coming back with a cursor.

use std::collections::BTreeSet;

use notify_hub::{EventId, JobEvent, JobStatus};
use notify_tests::sse_client::{Decoder, SseEvent};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::{House, check_rising, ids, operators};
use JobStatus::{Cancelled, Completed, Failed, Processing, Queued};

#[tokio::test]
async fn wherever_the_bytes_are_cut_the_rest_follows() {
    let house = House::start().await;
    let statuses = [Queued, Processing, Queued, Queued, Processing, Processing];
    let given = house.notify_all(&statuses).await;
    let mut stream = house.open().await;
    let all = stream.events(given.len()).await;
    assert_eq!(ids(&all), given);
    let raw = stream.raw().to_vec();

    let mut cursors = BTreeSet::new();
    for cut in 0..=raw.len() {
        let mut decoder = Decoder::default();
        let before = decoder.feed(&raw[..cut]);
        // A client presents only what it was given whole.
        let last = before.last().map_or("", |event| &event.id);
        assert_eq!(decoder.last_event_id(), last);
        cursors.insert((before.len(), last.to_owned()));
    }
    assert_eq!(cursors.len(), given.len() + 1);
    let end = house.notify(JobEvent::cancelled()).await;
    for (seen, cursor) in cursors {
        let after = house.resume(&cursor).await.rest().await;
        let mut expected: Vec<_> = given[seen..].to_vec();
        expected.push(end.clone());
        assert_eq!(ids(&after), expected, "after {cursor:?}");
    }
}

#[tokio::test]
async fn the_kept_progress_is_replayed_to_a_cursor() {
    let house = House::start().await;
    let mut given = house.notify_all(&[Queued, Processing]).await;
    given.extend(house.notify_all(&[Processing; 20]).await);
    let mut stream = house.resume(&given[0]).await;
    // The start, and the newest 16 of 20.
    let events = stream.events(17).await;
    assert_eq!(events[0].id, given[1]);
    assert_eq!(ids(&events[1..]), given[6..]);
}

#[tokio::test]
async fn the_header_beats_the_query_and_both_beat_from() {
    let house = House::start().await;
    let given = house.notify_all(&[Queued, Queued, Queued, Cancelled]).await;
    let query = format!("last_event_id={}&from=latest", given[1]);
    let by_query = operators().query(&query);
    let mut stream = house.open_with(by_query.clone()).await;
    assert_eq!(ids(&stream.rest().await), given[2..]);
    let by_header = by_query.clone().last_event_id(&given[0]);
    let mut stream = house.open_with(by_header).await;
    assert_eq!(ids(&stream.rest().await), given[1..]);
    // An empty header is none.
    let mut stream = house.open_with(by_query.last_event_id("")).await;
    assert_eq!(ids(&stream.rest().await), given[2..]);
}

#[tokio::test]
async fn a_cursor_at_the_head_waits_for_the_next_event() {
    let house = House::start().await;
    let given = house.notify_all(&[Queued, Processing]).await;
    let mut stream = house.resume(&given[1]).await;
    assert_eq!(stream.chunk().await.unwrap(), b":\n");
    let next = house.notify(JobEvent::queued()).await;
    assert_eq!(stream.event().await.unwrap().id, next);
}

#[tokio::test]
async fn who_has_seen_the_end_gets_204_and_nothing_else() {
    for last in [Completed, Failed, Cancelled] {
        let house = House::start().await;
        let given = house.notify_all(&[Queued, Processing, last]).await;
        let end = &given[2];
        let query = format!("last_event_id={end}");
        for request in [operators().last_event_id(end), operators().query(&query)] {
            let response = request.send(house.address).await;
            assert_eq!(response.status(), 204);
            assert_eq!(response.header("content-type"), None);
            assert_eq!(response.text().await, "");
        }
        let mut stream = house.resume(&given[1]).await;
        assert_eq!(ids(&stream.rest().await), [end]);
    }
}

#[tokio::test]
async fn a_cursor_that_is_none_is_told_and_everything_is_replayed() {
    let house = House::start().await;
    let given = house.notify_all(&[Queued, Processing, Queued]).await;
    let (epoch, _) = given[0].split_once('-').unwrap();
    let elsewhere = house.hub.notify("other", JobEvent::queued(), None);
    let foreign = elsewhere.await.unwrap().to_string();
    let future = format!("{epoch}-4");
    let long = format!("{epoch}-{}", "1".repeat(4_000));
    let padded = format!("{epoch}-01");
    let clipped: String = long.chars().take(128).collect();
    let finished = house.notify(JobEvent::cancelled()).await;
    let beyond = format!("{epoch}-5");
    for (cursor, echoed) in [
        (foreign.as_bytes(), &*foreign),
        (beyond.as_bytes(), &beyond),
        (b"7", "7"),
        (b"0", "0"),
        (b"-", "-"),
        (b"earliest", "earliest"),
        (padded.as_bytes(), &padded),
        (long.as_bytes(), &clipped),
        (b"\xff\xfe", "\u{fffd}\u{fffd}"),
        ("né\"\\".as_bytes(), "né\"\\"),
    ] {
        let mut stream = house.resume(cursor).await;
        let events = stream.rest().await;
        check_gap(&events[0], echoed);
        assert_eq!(ids(&events[1..3]), given[..2]);
        assert_eq!(ids(&events[3..]), [&given[2], &finished]);
    }
    // What lay in the future has come to pass by now.
    let response = operators().last_event_id(future).send(house.address).await;
    assert_eq!(response.status(), 204);
}

#[tokio::test]
async fn a_cursor_into_the_future_of_a_running_job_is_a_gap_too() {
    let house = House::start().await;
    let given = house.notify(JobEvent::queued()).await;
    let (epoch, _) = given.split_once('-').unwrap();
    let future = format!("{epoch}-2");
    let query = format!("last_event_id={future}");
    let mut stream = house.open_with(operators().query(&query)).await;
    let events = stream.events(2).await;
    check_gap(&events[0], &future);
    assert_eq!(events[1].id, given);
    let next = house.notify(JobEvent::queued()).await;
    assert_eq!(stream.event().await.unwrap().id, next);
}

#[track_caller]
fn check_gap(event: &SseEvent, requested: &str) {
    assert_eq!(event.event, "notify.gap");
    assert_eq!(event.id, "");
    let data = serde_json::json!({ "requested": requested });
    assert_eq!(event.data, data.to_string());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// While a job goes on, its reader is cut again and again.
    #[test]
    fn whoever_comes_back_with_the_last_id_misses_no_lifecycle_event(
        running in prop::collection::vec(prop_oneof![1 => Just(Queued), 3 => Just(Processing)], 0..40),
        last in prop_oneof![Just(Completed), Just(Failed), Just(Cancelled)],
        cuts in prop::collection::vec(0..6usize, 1..20),
    ) {
        let statuses = [&running[..], &[last]].concat();
        Runtime::new().unwrap().block_on(read_with_cuts(statuses, &cuts));
    }
}

async fn read_with_cuts(statuses: Vec<JobStatus>, cuts: &[usize]) {
    let house = House::start().await;
    let hub = std::sync::Arc::clone(&house.hub);
    let to_publish = statuses.clone();
    let publishing = tokio::spawn(async move {
        let mut given: Vec<EventId> = Vec::new();
        for status in to_publish {
            let accepted = hub.notify(super::JOB, super::event(status), None);
            given.push(accepted.await.unwrap());
            tokio::task::yield_now().await;
        }
        given
    });

    let mut seen: Vec<SseEvent> = Vec::new();
    let mut cuts = cuts.iter();
    loop {
        let cursor = seen.last().map_or("", |event| &event.id);
        let request = operators().last_event_id(cursor);
        let mut stream = request.send(house.address).await;
        if stream.status() == 204 {
            break;
        }
        // Once there is no cut left, it reads to the end.
        let mut before_cut = cuts.next().map_or(usize::MAX, |&cut| cut);
        while before_cut > 0 {
            let Some(event) = stream.event().await else {
                break;
            };
            seen.push(event);
            before_cut -= 1;
        }
        assert_eq!(stream.decoder().vain_blank_lines(), 0);
    }

    check_rising(&seen);
    let given = publishing.await.unwrap();
    let seen: BTreeSet<&str> = ids(&seen).into_iter().collect();
    for (index, id) in given.iter().enumerate() {
        let previous = index.checked_sub(1).map(|index| statuses[index]);
        let progress = previous == Some(Processing) && statuses[index] == Processing;
        assert!(progress || seen.contains(&*id.to_string()), "{id} is lost");
    }
}
