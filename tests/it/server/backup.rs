//! `notify backup`: a whole copy beside a running server, or none.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

const ENV: [(&str, &str); 1] = [("NOTIFY_API_KEY", KEY)];

fn on(dir: &Path) -> Program {
    let dir = dir.to_str().unwrap();
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", dir];
    Program::start(&args, &ENV)
}

async fn backup(dir: &Path, file: &Path) -> Ended {
    let (dir, file) = (dir.to_str().unwrap(), file.to_str().unwrap());
    Program::run(&["backup", file, "--data-dir", dir], &[]).await
}

/// Emits until told to stop; the acknowledged events, in order, as they come.
fn emit(
    address: SocketAddr,
    worker: usize,
    acknowledged: tokio::sync::mpsc::UnboundedSender<(String, String)>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let body = json!({"status": "completed", "result": "x".repeat(20_000)}).to_string();
        for round in 0.. {
            let job = format!("job-{worker}-{round}");
            let post = HttpRequest::post(format!("/v1/jobs/{job}/events"), body.clone());
            let answer = post.bearer(KEY).send(address).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            if acknowledged.send((job, answer.text("/id"))).is_err() {
                break;
            }
        }
    })
}

#[tokio::test]
async fn a_backup_under_load_has_all_that_was_acknowledged_before() {
    let scratch = tempfile::tempdir().unwrap();
    let (data, copy) = (scratch.path().join("data"), scratch.path().join("copy.db"));
    let server = on(&data);
    let address = server.address().await;
    let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4 {
        workers.spawn(emit(address, worker, sender.clone()));
    }
    let mut before = Vec::new();
    while before.len() < 300 {
        before.push(acknowledged.recv().await.unwrap());
    }
    while let Ok(more) = acknowledged.try_recv() {
        before.push(more);
    }
    let ended = backup(&data, &copy).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let bytes = std::fs::metadata(&copy).unwrap().len();
    assert!(ended.stdout.contains(&format!("copy.db: {bytes} bytes")));
    // The load went on meanwhile, and goes on.
    acknowledged.recv().await.unwrap();
    drop(acknowledged);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap().unwrap();
    }
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let restored = scratch.path().join("restored");
    std::fs::create_dir(&restored).unwrap();
    std::fs::rename(&copy, restored.join("notify.db")).unwrap();
    let checked = Program::run(&["check", "--data-dir", restored.to_str().unwrap()], &[]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let server = on(&restored);
    let address = server.address().await;
    for (job, id) in before {
        let get = HttpRequest::get(format!("/v1/jobs/{job}")).bearer(KEY);
        assert_eq!(get.send(address).await.text("/last_event/id"), id);
    }
}

#[tokio::test]
async fn a_backup_that_cannot_be_made_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let (data, copy) = (scratch.path().join("data"), scratch.path().join("copy.db"));
    let none = backup(&data, &copy).await;
    assert_eq!(none.code, Some(3), "{none:?}");
    let server = on(&data);
    server.address().await;
    std::fs::write(&copy, "precious").unwrap();
    let exists = backup(&data, &copy).await;
    assert_eq!(exists.code, Some(2), "{exists:?}");
    assert!(exists.stderr.contains("copy.db: there is such a file"));
    assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
    let nowhere = backup(&data, &scratch.path().join("nowhere/copy.db")).await;
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
    let full = Path::new("/dev/full/copy.db");
    assert_eq!(backup(&data, full).await.code, Some(1));
    let mut left: Vec<_> = std::fs::read_dir(scratch.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["copy.db", "data"]);
    assert_eq!(Program::run(&["backup"], &[]).await.code, Some(2));
}
