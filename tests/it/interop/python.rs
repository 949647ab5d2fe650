//! Python: its standard library alone, Standard Webhooks, and Stripe's verifier.

use tokio::process::Command;

use super::example::{check_known_answers, check_receives, source, statuses_while_changing};
use super::root;

/// Any Python, with nothing installed.
fn bare(script: &str) -> Command {
    let mut command = Command::new("python3");
    // Neither packages of the machine's, nor compiled files beside the sources.
    command.args(["-I", "-B"]).arg(source(script));
    command
}

/// The Python of the environment with the official libraries.
fn with_libraries(script: &str) -> Command {
    let python = root("target/interop/python/bin/python");
    assert!(
        python.is_file(),
        "{} is not there; run cargo xtask test",
        python.display()
    );
    let mut command = Command::new(python);
    command.args(["-I", "-B"]).arg(source(script));
    command
}

#[tokio::test]
async fn the_standard_library_is_enough() {
    check_receives(|| bare("python-stdlib/receiver.py")).await;
}

#[tokio::test]
async fn the_standard_library_agrees_with_the_known_answers() {
    let mut command = Command::new("python3");
    command.arg("-B").arg(source("python-stdlib/vectors.py"));
    check_known_answers(command).await;
}

#[tokio::test]
async fn standard_webhooks_takes_what_is_sent() {
    check_receives(|| with_libraries("python-standardwebhooks/receiver.py")).await;
}

#[tokio::test]
async fn stripe_takes_what_is_sent() {
    check_receives(|| with_libraries("python-stripe/receiver.py")).await;
}

#[tokio::test]
async fn a_changed_secret_holds_old_and_new() {
    for script in [
        "python-stdlib/receiver.py",
        "python-standardwebhooks/receiver.py",
    ] {
        let statuses = statuses_while_changing(|| with_libraries(script)).await;
        assert_eq!(statuses, [204, 204], "{script}");
    }
}

/// `x-webhook-signature` has room for one signature: it is the old secret's
/// until the old secret is gone.
#[tokio::test]
async fn a_changed_secret_holds_old_for_stripe() {
    let statuses = statuses_while_changing(|| with_libraries("python-stripe/receiver.py")).await;
    assert_eq!(statuses, [204, 401]);
}
