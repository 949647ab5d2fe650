//! The service in the story: renders a video and says how it goes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::error::DemoError;
use super::sight::Sight;
use crate::client::Client;

/// How long each step of the work takes.
const STEP: Duration = Duration::from_millis(300);

/// Says everything, step by step.
pub(super) async fn run(
    client: Client,
    path: String,
    sights: mpsc::Sender<Sight>,
) -> Result<(), DemoError> {
    let mut steps = steps().into_iter().peekable();
    let mut was_processing = false;
    while let Some((words, event)) = steps.next() {
        let _ = sights.send(Sight::Saying(words.to_owned())).await;
        let accepted = client.post(&path, &event).await;
        let accepted = accepted.map_err(|error| DemoError::Call("POST an event", error))?;
        let is_processing = event.get("status") == Some(&json!("processing"));
        let id = accepted.get("id").and_then(Value::as_str);
        let accepted = Sight::Accepted {
            id: id.unwrap_or_default().to_owned(),
            is_progress: was_processing && is_processing,
        };
        let _ = sights.send(accepted).await;
        was_processing = is_processing;
        if steps.peek().is_some() {
            tokio::time::sleep(STEP).await;
        }
    }
    let _ = sights.send(Sight::Said).await;
    Ok(())
}

fn steps() -> [(&'static str, Value); 5] {
    let result = json!({ "video_url": "https://cdn.example.com/out.mp4" });
    [
        ("queued", json!({ "status": "queued" })),
        (
            "processing, 10 %",
            json!({ "status": "processing", "progress": 10 }),
        ),
        (
            "processing, 42 %",
            json!({ "status": "processing", "progress": 42 }),
        ),
        (
            "processing, 80 %",
            json!({ "status": "processing", "progress": 80 }),
        ),
        (
            "completed",
            json!({ "status": "completed", "progress": 100, "result": result }),
        ),
    ]
}
