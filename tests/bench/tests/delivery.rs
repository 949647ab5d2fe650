//! The bench `delivery` in its shortest form: that it runs, not how fast.

use std::process::Command;

use serde_json::Value;

#[test]
fn everyone_takes_turns_and_is_compared() {
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("delivery.json");
    let program = env!("CARGO_BIN_EXE_delivery");
    let output = Command::new(program)
        .args(["--rounds", "1", "--warm-up-ms", "0", "--measure-ms", "0"])
        .args(["--before", program])
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let contestants = report["contestants"].as_array().unwrap();
    let names: Vec<_> = contestants.iter().map(|one| &one["name"]).collect();
    assert_eq!(
        names,
        [
            "bare",
            "memory",
            "memory, before",
            "durable",
            "durable, before"
        ]
    );
    for one in contestants {
        assert_eq!(one["rounds"].as_array().unwrap().len(), 1, "{one}");
        for ratio in ["cpu_of_bare", "rate_of_bare"] {
            assert!(one[ratio].as_f64().is_some_and(|it| it > 0.0), "{one}");
        }
        let name = one["name"].as_str().unwrap();
        let is_now = ["memory", "durable"].contains(&name);
        assert_eq!(one["rate_of_earlier"].is_f64(), is_now, "{one}");
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("durable, before"), "{text}");
    // What was kept for the measurement is gone.
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
}
