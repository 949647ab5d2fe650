//! `notify listen`: a receiver on this machine that shows what it gets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notify_verify::{Secret, Verifier};
use tokio::net::TcpListener;

use crate::connections::Connections;
use crate::print;
use crate::receiver::{FailOnPurpose, Receiver, Webhook};
use crate::serve::{Signals, listening_on};

/// Connections at a time.
const CONNECTIONS_MAX: usize = 1_024;

/// How long answers on their way may take at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// What the command line asks for.
pub(crate) struct ListenOptions {
    pub(crate) port: u16,
    pub(crate) secret: Option<String>,
    pub(crate) fail_first: u32,
    pub(crate) delay: Duration,
}

/// Options with which a receiver may start.
pub(crate) struct Prepared {
    port: u16,
    verifier: OnceLock<Verifier>,
    fail_first: u32,
    delay: Duration,
}

/// Judges the options.
pub(crate) fn prepare(options: ListenOptions) -> Result<Prepared, String> {
    let verifier = OnceLock::new();
    if let Some(text) = &options.secret {
        let secret = Secret::parse(text).map_err(|error| format!("secret: {error}"))?;
        let made = Verifier::from_secrets(vec![secret]).map_err(|error| error.to_string())?;
        verifier.get_or_init(|| made);
    }
    Ok(Prepared {
        port: options.port,
        verifier,
        fail_first: options.fail_first,
        delay: options.delay,
    })
}

/// Receives until a signal asks to stop.
pub(crate) async fn run(prepared: Prepared) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, prepared.port));
    let listener = TcpListener::bind(address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen at {address}: {error}"))
    })?;
    let address = listener.local_addr()?;
    let has_secret = prepared.verifier.get().is_some();
    let receiver = Receiver {
        verifier: prepared.verifier,
        fails: fail_first(prepared.fail_first),
        delay: prepared.delay,
        tell: Box::new(|webhook| show(&webhook)),
    };
    let routes = Arc::new(receiver).routes();
    let connections = Connections::accept(listener, routes, CONNECTIONS_MAX);
    if !has_secret {
        print::error("no secret, so nothing is verified; give one with --secret or NOTIFY_SECRET");
    }
    print::error(&listening_on(address));
    signals.next().await;
    connections.close(CLOSE_WITHIN).await;
    Ok(())
}

fn fail_first(count: u32) -> FailOnPurpose {
    let left = AtomicU32::new(count);
    Box::new(move |_| {
        let take = |left: u32| left.checked_sub(1);
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    })
}

fn show(webhook: &Webhook) {
    let Webhook {
        id,
        kind,
        job_id,
        event,
        ..
    } = webhook;
    let outcome = webhook.outcome();
    print::line(&format!(
        "{}  {kind:<14}  {job_id}  {id}  {outcome}",
        time_of_day()
    ));
    print::line(&format!("          {event}"));
}

/// Hours, minutes and seconds of UTC.
fn time_of_day() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let secs = since_epoch.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}", secs / 3_600, secs / 60 % 60, secs % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_fail_as_were_asked_for() {
        let fails = fail_first(2);
        let answers = [(); 4].map(|()| fails("job.queued"));
        assert_eq!(answers, [true, true, false, false]);
    }
}
