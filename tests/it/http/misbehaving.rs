//! Receivers that do what no receiver should: nothing that they say is taken for what
//! it is not, and nothing that they do uses us up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use notify_tests::raw_server::{RawConnection, RawServer};
use tokio::sync::{Semaphore, mpsc};

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const INTERIM: &str = "HTTP/1.1 100 Continue\r\n\r\n";

/// What is read of an exchange at most, and what the sockets between the two hold.
const TAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A receiver that says `head` and then `more` again and again, until nobody listens or
/// a gigabyte is through; and how many bytes it got rid of.
async fn talking(head: &'static str, more: Vec<u8>) -> (RawServer, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let server = RawServer::start(move |mut connection| {
        let (counted, more) = (Arc::clone(&counted), more.clone());
        async move {
            connection.request().await;
            connection.say(head).await;
            for _ in 0..(1 << 30) / more.len() {
                if !connection.say(&more).await {
                    break;
                }
                counted.fetch_add(more.len(), Ordering::SeqCst);
            }
        }
    });
    (server.await, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_answers_without_end_are_cut() {
    let (server, taken) = talking("", INTERIM.repeat(500).into()).await;
    let begun = Instant::now();
    check_failed(send_to(server.address()).await, TransportError::Http);
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < TAKEN_BYTES_MAX, "{taken} bytes");
}

#[tokio::test]
async fn a_hundred_thousand_interim_answers_are_too_many_and_some_are_not() {
    let answer = |count| INTERIM.repeat(count) + OK;
    let server = RawServer::answering(answer(100_000)).await;
    check_failed(send_to(server.address()).await, TransportError::Http);
    let server = RawServer::answering(answer(10_000)).await;
    let transport = transport();
    // For each request anew.
    for _ in 0..8 {
        let sent = send(&transport, request_to(server.address(), LONG));
        assert_eq!(sent.await.unwrap().status, 200);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_header_of_a_gigabyte_little_is_read() {
    let (server, taken) = talking("HTTP/1.1 200 OK\r\nx: ", vec![b'x'; 64 * 1024]).await;
    check_failed(send_to(server.address()).await, TransportError::Http);
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < TAKEN_BYTES_MAX, "{taken} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_body_that_unpacks_to_more_the_packed_beginning_is_read() {
    // What gzip makes of a gigabyte of zeros begins so, and goes on as it began.
    let packed = b"\xec\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee\x08\x0a\x00\x00".repeat(256);
    let head = "HTTP/1.1 500 Oh\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"1000\r\n", &packed[..], b"\r\n"].concat();
    let (server, taken) = talking(head, chunk).await;
    let answer = send_to(server.address()).await.unwrap();
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, packed.repeat(4));
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < TAKEN_BYTES_MAX, "{taken} bytes");
}

#[tokio::test]
async fn chunks_that_say_little_in_many_bytes_are_cut() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("1;{}\r\nx\r\n", "y".repeat(4_000));
    let (server, taken) = talking(head, chunk.into()).await;
    let answer = send_to(server.address()).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() < 1_024, "{}", answer.body.len());
    let taken = taken.load(Ordering::SeqCst);
    assert!(taken < TAKEN_BYTES_MAX, "{taken} bytes");
}

#[tokio::test]
async fn a_reset_in_the_body_takes_no_answer_back() {
    let server = RawServer::start(async |mut connection| {
        connection.request().await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun";
        connection.say(answer).await;
        connection.reset();
    })
    .await;
    let answer = send_to(server.address()).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (200, &b"begun"[..]));
}

#[tokio::test]
async fn a_redirect_to_itself_is_one_request() {
    let mut server = RawServer::answering(
        "HTTP/1.1 308 Permanent Redirect\r\nlocation: /hook\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let transport = transport();
    let sent = send(&transport, request_to(server.address(), LONG)).await;
    assert_eq!(sent.unwrap().status, 308);
    server.request().await;
    // The next that comes is the next that is sent.
    let mut second = request_to(server.address(), LONG);
    second.body = "second".into();
    assert_eq!(send(&transport, second).await.unwrap().status, 308);
    assert_eq!(server.request().await.body, b"second");
}

/// Answers the first request of a connection with `first`, followed by what nobody has
/// asked for, and the others with 200; says on which connections requests came.
async fn check_unasked(first: &'static str, unasked: &'static str, late: Duration) {
    let mut server = RawServer::start(move |mut connection: RawConnection| async move {
        connection.request().await;
        if late.is_zero() {
            connection.say([first, unasked].concat()).await;
        } else {
            connection.say(first).await;
            tokio::time::sleep(late).await;
            connection.say(unasked).await;
        }
        while connection.request().await {
            connection.say(OK).await;
        }
    })
    .await;
    let transport = transport();
    let status = async || {
        let sent = send(&transport, request_to(server.address(), LONG)).await;
        sent.unwrap().status
    };
    assert_eq!(status().await, 204);
    // So that it has come, and lies there.
    tokio::time::sleep(late + SHORT).await;
    // The first request of the next connection is answered so too.
    let second = status().await;
    assert_eq!(second, 204, "after {first:?} and {unasked:?}");
    assert_eq!(server.request().await.connection, 0);
    assert_eq!(server.request().await.connection, 1);
}

#[tokio::test]
async fn what_nobody_asked_for_is_no_answer_to_the_next_request() {
    const GONE: &str = "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n";
    for late in [Duration::ZERO, SHORT] {
        for (first, unasked) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", GONE),
            (
                "HTTP/1.1 204 No Content\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
            ),
            // A body that an answer of this kind can't have.
            (
                "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n",
                "hello",
            ),
            (
                "HTTP/1.1 204 No Content\r\ncontent-length: 44\r\n\r\n",
                GONE,
            ),
            (
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ] {
            check_unasked(first, unasked, late).await;
        }
    }
}

#[tokio::test]
async fn a_connection_that_was_reset_while_idle_is_replaced() {
    let (sender, mut was_reset) = mpsc::unbounded_channel();
    let reset = Arc::new(Semaphore::new(0));
    let allowed = Arc::clone(&reset);
    let mut server = RawServer::start(move |mut connection| {
        let (sender, allowed) = (sender.clone(), Arc::clone(&allowed));
        async move {
            connection.request().await;
            connection.say(OK).await;
            allowed.acquire().await.unwrap().forget();
            connection.reset();
            let _ = sender.send(());
        }
    })
    .await;
    let transport = transport();
    for number in 0..4 {
        let sent = send(&transport, request_to(server.address(), LONG));
        assert_eq!(sent.await.unwrap().status, 200);
        assert_eq!(server.request().await.connection, number);
        reset.add_permits(1);
        within(LONG, was_reset.recv()).await.unwrap();
        // The runtime looks at its sockets when it has nothing else to do.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_with_the_request_on_it_is_not_used_once_more() {
    // The receiver may have acted on it, so whether it is sent again is not ours to say.
    let mut server = RawServer::start(async |mut connection| {
        connection.request().await;
        connection.say(OK).await;
        connection.request().await;
    })
    .await;
    let transport = transport();
    let sent = send(&transport, request_to(server.address(), LONG));
    assert_eq!(sent.await.unwrap().status, 200);
    let sent = send(&transport, request_to(server.address(), LONG));
    check_failed(sent.await, TransportError::Http);
    for _ in 0..2 {
        assert_eq!(server.request().await.connection, 0);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_in_the_middle_of_the_request_counts_though_the_rest_is_refused() {
    for reset in [false, true] {
        let server = RawServer::start(move |mut connection| async move {
            connection.head().await;
            connection
                .say("HTTP/1.1 410 Gone\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .await;
            if reset {
                connection.reset();
            }
        })
        .await;
        let mut large = request_to(server.address(), LONG);
        large.body = vec![b'x'; 512 * 1024].into();
        let sent = send(&transport(), large).await;
        assert_eq!(sent.unwrap().status, 410, "reset: {reset}");
    }
}
