//! Every vector of a core in `impls/vectors` must be reproduced to the digit.

use std::fs;
use std::path::Path;

use crossfade_core::replay::Replayer;
use serde_json::Value;

fn replay(kind: &str, vector: &Value) -> Result<(), String> {
    let seed = vector["seed"].as_u64().ok_or("seed is not a u64")?;
    let mut core = Replayer::new(kind, &vector["config"].to_string(), seed)?;
    for (number, step) in vector["steps"]
        .as_array()
        .ok_or("no steps")?
        .iter()
        .enumerate()
    {
        let at_ns = step["at_ns"].as_u64().ok_or("at_ns is not a u64")?;
        let op = step["op"].as_str().ok_or("op is not a string")?;
        let found = core.step(at_ns, op, &step["args"].to_string())?;
        let found: Value = serde_json::from_str(&found).map_err(|error| error.to_string())?;
        if found != step["expect"] {
            return Err(format!("step {number} {step}: found {found}"));
        }
    }
    Ok(())
}

#[test]
fn every_vector_is_reproduced() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let mut replayed = 0;
    for entry in fs::read_dir(folder).expect("impls/vectors exists") {
        let path = entry.expect("a readable entry").path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a UTF-8 name");
        let kind = stem
            .split('-')
            .next()
            .expect("split yields at least one part");
        for line in fs::read_to_string(&path).expect("a readable file").lines() {
            let vector: Value = serde_json::from_str(line).expect("one JSON object per line");
            if vector.get("steps").is_none() {
                continue; // of the relay, see ENVELOPE.md: crossfade-runtime replays them
            }
            if let Err(error) = replay(kind, &vector) {
                panic!("{}: {}: {error}", path.display(), vector["id"]);
            }
            replayed += 1;
        }
    }
    assert!(replayed > 0, "no vector was found");
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let vector = r#"{"config": {}, "seed": 0, "steps": [{"at_ns": 0, "op": "admit", "args": [], "expect": false}]}"#;
    let vector = serde_json::from_str(vector).expect("JSON");
    let error = replay("breaker", &vector).expect_err("a closed breaker admits");
    assert!(error.ends_with("found true"), "{error}");
}
