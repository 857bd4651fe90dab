use super::*;

fn refusal(more: &str) -> String {
    let json = format!(r#"{{"mode":"closed","connections":1,"duration_s":1{more}}}"#);
    match Plan::parse(json.as_bytes()) {
        Ok(_) => String::new(),
        Err(why) => why.to_string(),
    }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    for (more, culprit) in [
        ("", "`port`"),
        (r#","port":1,"targets":[{"port":2}]"#, "`targets`"),
        (r#","port":1,"tool":"a","tools":["b"]"#, "`tools`"),
        (r#","port":1,"tools":["a b"]"#, "`tools`"),
        (r#","port":1,"burst":5"#, "`burst`"),
        (r#","port":1,"mix":{}"#, "`mix`"),
        (r#","port":1,"mix":{"sing":1}"#, "sing"),
        (r#","port":1,"uri":"echo:///text""#, "`uri`"),
        (r#","port":1,"session_calls":5"#, "`session_calls`"),
        (r#","port":1,"chain":0"#, "`chain`"),
        (r#","port":1,"chain":2,"mix":{"call":1}"#, "`mix`"),
        (r#","port":1,"cancel_per_mille":1001"#, "`cancel_per_mille`"),
        (r#","port":1,"bogus":5"#, "bogus"),
    ] {
        assert!(refusal(more).contains(culprit), "{more}: {}", refusal(more));
    }
    assert_eq!(refusal(r#","port":1"#), "");
}

#[test]
fn connections_are_spread_in_turn() {
    let plan = Plan::parse(
        br#"{"mode":"hold","connections":1,"targets":[{"port":7},{"host":"::1","port":8}]}"#,
    )
    .unwrap();
    let ports: Vec<u16> = (0..4).map(|key| plan.target(key).port).collect();
    assert_eq!(ports, [7, 8, 7, 8]);
}
