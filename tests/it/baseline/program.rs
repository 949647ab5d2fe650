//! The program serves it.

use notify_tests::http_client::HttpRequest;
use notify_tests::program::Program;
use notify_tests::sse_client::StreamRequest;

use super::{Baseline, list, text};

#[tokio::test]
async fn the_program_finds_it_sound_and_serves_it() {
    for baseline in [Baseline::closed(), Baseline::killed()] {
        let dir = baseline.dir.path().to_str().unwrap();
        let checked = Program::run(&["check", "--data-dir", dir], &[]).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");

        let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", dir];
        // The data is as old as it is; nothing of it is to be forgotten.
        let env = [
            (
                "NOTIFY_SIGNING_SECRET",
                text(&baseline.story["signing_secret"]),
            ),
            ("NOTIFY_STORE__RETENTION", "36500d"),
            ("NOTIFY_STORE__DEAD_LETTER_RETENTION", "36500d"),
        ];
        let program = Program::start(&args, &env);
        let address = program.address().await;
        for (id, job) in baseline.jobs() {
            let get = HttpRequest::get(format!("/v1/jobs/{id}"));
            let view = get.bearer(text(&baseline.story["api_key"]));
            let view = view.send(address).await.json();
            assert_eq!(view["sequence"], job["sequence"], "{view}");
            let last = list(&job["events"]).last();
            let last = last.map(|event| text(&event["id"]));
            assert_eq!(view["last_event"]["id"].as_str(), last, "{view}");
            let is_over = last.is_some() && ["completed", "failed"].contains(&text(&job["status"]));
            if let Some(token) = job["token"].as_str().filter(|_| is_over) {
                let stream = StreamRequest::of_job(id).bearer(token).send(address).await;
                let stream = stream.text().await;
                for event in list(&job["events"]) {
                    let block = format!("\ndata: {}\n", text(&event["json"]));
                    assert!(stream.contains(&block), "{id}: {stream}");
                }
            }
        }
        program.terminate().await;
        assert_eq!(program.ended().await.code, Some(0));
        let checked = Program::run(&["check", "--data-dir", dir], &[]).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
}
