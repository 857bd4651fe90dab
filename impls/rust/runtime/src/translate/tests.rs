//! What a splice keeps of a message and puts in, and how header values are written.

use super::*;

#[test]
fn unknown_fields_and_spacing_survive_a_splice() {
    let body = br#"{ "name" : "a__b", "x": 1.50 ,"_meta":{"k":"v","io.modelcontextprotocol/protocolVersion":"2026-07-28"} }"#;
    let params = envelope::scan_params(body).expect("valid");
    let mut edits = vec![Edit {
        at: params.name.expect("name"),
        with: b"\"b\""[..].into(),
    }];
    edits.extend(meta_edit(body, &params, false, b"{}").expect("valid"));
    let mut out = Vec::new();
    splice(body, &edits, &mut out);
    assert_eq!(out, br#"{ "name" : "b", "x": 1.50 ,"_meta":{"k":"v"} }"#);
    assert_eq!(
        out.len().cast_signed(),
        body.len().cast_signed() + growth(&edits)
    );
}

#[test]
fn a_legacy_result_gets_what_modern_requires_and_nothing_twice() {
    for (method, raw, want) in [
        ("tools/call", "{}", r#"{"resultType":"complete"}"#),
        (
            "tools/call",
            r#"{"resultType":"x"}"#,
            r#"{"resultType":"x"}"#,
        ),
        (
            "tools/list",
            r#"{"ttlMs":5,"tools":[]}"#,
            r#"{"resultType":"complete","cacheScope":"private","ttlMs":5,"tools":[]}"#,
        ),
    ] {
        let mut out = Vec::new();
        result_to_modern(method, raw.as_bytes(), &mut out).expect("valid");
        assert_eq!(String::from_utf8_lossy(&out), want);
    }
}

#[test]
fn header_values_follow_the_examples_of_the_specification() {
    for (plain, coded) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ] {
        assert_eq!(header_value(plain), coded);
        assert_eq!(header_text(coded.as_bytes()).as_deref(), Some(plain));
    }
    assert_eq!(header_text(b"=?base64?!!?="), None);
}
