//! What the scanner finds, against `serde_json` as the oracle; what it must refuse, and every prefix of it.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a__b","arguments":{"x":[1,{"y":"\u00e9\"}"}]},"_meta":{"k":1}}}"#;

fn at(input: &[u8], span: Option<Span>) -> &str {
    std::str::from_utf8(span.expect("found").of(input)).expect("utf-8")
}

#[test]
fn every_part_is_found_in_any_order_of_keys() {
    let other = br#" {"params" : {"_meta":{"k":1},"name":"a__b"} , "id":"x", "method":"tools/call","jsonrpc":"2.0"} "#;
    for (input, id) in [(CALL, "7"), (&other[..], "\"x\"")] {
        let envelope = scan(input).expect("valid");
        assert!(envelope.complete && envelope.members.complete);
        assert_eq!(at(input, envelope.id), id);
        assert_eq!(at(input, envelope.method), "\"tools/call\"");
        assert_eq!(at(input, envelope.members.name), "\"a__b\"");
        assert_eq!(at(input, envelope.members.meta), "{\"k\":1}");
    }
}

#[test]
fn every_prefix_is_incomplete_and_never_wrong() {
    let full = scan(CALL).expect("valid");
    for end in 0..CALL.len() {
        let part = scan(&CALL[..end]).expect("a prefix of valid JSON is no fault");
        assert!(!part.complete);
        for (some, all) in [
            (part.id, full.id),
            (part.method, full.method),
            (part.members.name, full.members.name),
        ] {
            assert!(some.is_none() || some == all);
        }
    }
}

#[test]
fn duplicates_also_disguised_and_broken_json_are_refused() {
    for input in [
        &br#"{"id":1,"id":2}"#[..],
        br#"{"method":"a","params":{"name":"x","name":"y"}}"#,
        br#"{"method":"a","params":{"n\u0061me":"x","name":"y"}}"#,
        br#"{"a":01}"#,
        br#"{"a":[1,]}"#,
        br#"{"a":{,}}"#,
        b"{\"a\":\"\x01\"}",
        b"{\"a\":\"\xff\"}",
        br#"{"a":1}}"#,
        br#"{"a":tru1}"#,
        b"[1]",
        b"nope",
    ] {
        assert!(scan(input).is_err(), "{}", String::from_utf8_lossy(input));
    }
    let deep = [b"{\"a\":".as_slice(), &b"[".repeat(600)].concat();
    assert!(scan(&deep).is_err());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"\\\\é]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn spans_hold_what_serde_json_reads(id in any::<i64>(), name in ".{0,20}", meta in json(), arguments in json(), pretty: bool) {
        let message = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"arguments": arguments, "name": name, "_meta": meta}});
        let raw = if pretty { serde_json::to_vec_pretty(&message) } else { serde_json::to_vec(&message) }.expect("json");
        let envelope = scan(&raw).expect("valid");
        let read = |span: Option<Span>| serde_json::from_slice::<Value>(span.expect("found").of(&raw)).expect("json");
        prop_assert!(envelope.complete);
        prop_assert_eq!(read(envelope.id), Value::from(id));
        prop_assert_eq!(read(envelope.members.name), Value::from(name));
        prop_assert_eq!(read(envelope.members.meta), meta);
        prop_assert_eq!(read(envelope.params), message["params"].clone());
    }

    #[test]
    fn acceptance_equals_serde_json_on_damaged_input(value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut raw = serde_json::to_vec(&serde_json::json!({"k": value})).expect("json");
        let at = at.index(raw.len());
        raw[at] = byte;
        let ours = members(&raw, |_, _| {}).is_ok();
        let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(&raw).is_ok();
        // serde_json's IgnoredAny skips numbers and strings loosely in places; ours must never accept more.
        prop_assert!(!ours || theirs);
        if serde_json::from_slice::<Value>(&raw).is_ok_and(|v| v.is_object()) {
            prop_assert!(ours);
        }
    }
}
