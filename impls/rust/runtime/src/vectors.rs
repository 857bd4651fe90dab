//! Replays `impls/vectors/envelope.jsonl`, `names.jsonl` and `filters.jsonl`, which the Python gateway replays as well.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::NameFilter;
use crate::envelope::{self, Fault, Span};
use crate::filters::{Filter, Glob};
use crate::{names, translate};

/// Where this scanner differs, knowingly: it checks what it skips, as the Python gateway's full parse does.
const STRICTER: [(&str, i64); 3] = [
    ("id-leading-zero", -32700),
    ("string", -32600),
    ("not-utf8-in-arguments", -32700),
];

fn lines(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("the vectors are part of the repository");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}

fn span(span: Span) -> Value {
    json!([span.start, span.end])
}

/// What a scan sees, in the words of `ENVELOPE.md`.
fn seen(body: &[u8], complete: bool) -> Result<Map<String, Value>, i64> {
    let code = |fault: Fault| {
        if matches!(fault, Fault::Syntax(_)) {
            -32700
        } else {
            -32600
        }
    };
    let env = envelope::scan(body).map_err(code)?;
    if complete && !env.complete {
        return Err(-32700);
    }
    let mut out = Map::new();
    if let Some(at) = env.method {
        out.insert(
            "method".into(),
            envelope::text(at.of(body)).ok_or(-32600)?.into(),
        );
    }
    if let Some(at) = env.id {
        if !envelope::is_id(at.of(body)) {
            return Err(-32600);
        }
        out.insert("id".into(), span(at));
    }
    if let Some(at) = env.params {
        if env.members.open.is_none() {
            return Err(-32600);
        }
        out.insert("params".into(), span(at));
    }
    if let Some(at) = env.members.name.or(env.members.uri) {
        out.insert("key".into(), span(at));
    }
    if let Some(at) = env.members.meta {
        let hop = translate::hop_meta(at.of(body)).map_err(|_| -32600)?;
        out.insert("meta".into(), span(at));
        if let Some(version) = hop.version {
            let version = envelope::text(version.of(at.of(body))).ok_or(-32600)?;
            out.insert("version".into(), version.into());
        }
    }
    if env.complete {
        let end = body.trim_ascii_end().len();
        out.insert("end".into(), end.into());
    }
    Ok(out)
}

#[test]
fn envelopes_are_seen_as_the_vectors_say() {
    let mut wrong = Vec::new();
    for vector in lines("envelope.jsonl") {
        let body = match (&vector["body"], &vector["body_b64"]) {
            (Value::String(body), _) => body.clone().into_bytes(),
            (_, Value::String(coded)) => translate::unbase64(coded.as_bytes()).expect("base64"),
            _ => panic!("a vector without body: {vector}"),
        };
        let got = match seen(&body, vector["complete"] == true) {
            Ok(found) => Value::Object(found),
            Err(code) => json!({ "error": code }),
        };
        let mut wanted = vector["expect"].clone();
        let id = vector["id"].as_str().unwrap_or_default();
        if let Some((_, code)) = STRICTER.iter().find(|(known, _)| *known == id) {
            wanted = json!({ "error": code });
        }
        // The members of `_meta` are read here once all of it is there.
        if wanted.get("meta").is_none()
            && let Some(wanted) = wanted.as_object_mut()
        {
            wanted.remove("version");
        }
        if got != wanted {
            wrong.push(format!("{}: got {got}, expected {wanted}", vector["id"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_exposed_as_the_vectors_say() {
    #[derive(Deserialize)]
    struct Expect {
        exposed: String,
        shortened: bool,
    }
    for vector in lines("names.jsonl") {
        let expect = Expect::deserialize(&vector["expect"]).expect("exposed and shortened");
        let (server, name) = (
            vector["server"].as_str().expect("server"),
            vector["name"].as_str().expect("name"),
        );
        let exposed = names::expose(true, server, name);
        assert_eq!(exposed, expect.exposed, "{}", vector["id"]);
        if expect.shortened {
            assert!(names::is_shortened(&exposed), "{}", vector["id"]);
        } else if !name.is_empty() {
            assert_eq!(
                names::split(&exposed),
                Some((server, name)),
                "{}",
                vector["id"]
            );
        }
    }
}

#[test]
fn filters_show_what_the_vectors_say() {
    for vector in lines("filters.jsonl") {
        let id = &vector["id"];
        if let Some(pattern) = vector["glob"].as_str() {
            let name = vector["name"].as_str().expect("a name");
            assert_eq!(
                Glob::new(pattern).matches(name),
                vector["expect"] == true,
                "{id}"
            );
            continue;
        }
        let spec = NameFilter::deserialize(&vector["filter"]).expect("a filter");
        let filter = Filter::new(&spec);
        let asked = |what: &str, answer: &dyn Fn(&str) -> Option<String>| {
            for (name, expect) in vector[what].as_object().expect("names and answers") {
                assert_eq!(
                    answer(name).as_deref(),
                    expect.as_str(),
                    "{id}: {what} {name}"
                );
            }
        };
        asked("shown", &|own| filter.shown(own).map(str::to_owned));
        asked("own", &|shown| filter.own(shown).map(str::to_owned));
        asked("clash", &|own| filter.clash(own).map(str::to_owned));
    }
}

#[test]
fn translations_are_as_the_vectors_say() {
    let mut wrong = Vec::new();
    for vector in lines("translation.jsonl") {
        let (id, op) = (&vector["id"], vector["op"].as_str().expect("an operation"));
        let args = vector["args"].as_array().expect("arguments");
        let got = crate::replay::step(op, args);
        if got.as_ref() != Ok(&vector["expect"]) {
            wrong.push(format!("{id}: got {got:?}, expected {}", vector["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_kept_corpus_of_the_fuzz_targets_breaks_no_law() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let laws = crate::replay::laws::LAWS;
    for (name, _) in laws {
        let files = std::fs::read_dir(corpus.join(name)).expect("every target has a corpus");
        let mut seen = 0;
        for file in files {
            let input = std::fs::read(file.expect("readable").path()).expect("readable");
            // What one target found may be news to another.
            for (_, law) in laws {
                law(&input);
            }
            seen += 1;
        }
        assert!(seen > 0, "{name}");
    }
}
