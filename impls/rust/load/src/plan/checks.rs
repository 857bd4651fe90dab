//! What a plan may not ask for: numbers out of range, and keys that mean nothing together.
//!
//! Rule: the message names the key; nothing that was asked for is silently left undone.

use super::{Era, Mode, Plan};

type Refusal = Result<(), String>;

const DAY_S: f64 = 86_400.0;

fn ensure(holds: bool, why: impl Into<String>) -> Refusal {
    if holds { Ok(()) } else { Err(why.into()) }
}

pub(super) fn check(plan: &Plan) -> Refusal {
    ranges(plan)?;
    times(plan)?;
    words(plan)?;
    together(plan)
}

fn ranges(plan: &Plan) -> Refusal {
    ensure(
        plan.connections > 0 || plan.mode == Mode::Hold,
        "`connections` must be at least 1",
    )?;
    for (name, value, most) in [
        ("connections", plan.connections as u64, 200_000),
        ("payload_bytes", plan.payload_bytes as u64, 64 << 20),
        ("burst", plan.burst, 10_000_000),
        ("events", u64::from(plan.events), 1_000_000),
        ("chain", u64::from(plan.chain), 1_000_000),
        ("cancel_per_mille", u64::from(plan.cancel_per_mille), 1000),
    ] {
        ensure(value <= most, format!("`{name}` must be at most {most}"))?;
    }
    ensure(plan.chain > 0, "`chain` must be at least 1")?;
    ensure(plan.parallel > 0, "`parallel` must be at least 1")
}

fn times(plan: &Plan) -> Refusal {
    let rate = plan.rate_per_s;
    if plan.mode == Mode::Open && plan.burst == 0 {
        ensure(
            rate.is_some_and(|rate| rate > 0.0 && rate <= 10e6),
            "mode \"open\" needs `rate_per_s`, above 0 and at most 10 million, or `burst`",
        )?;
    }
    ensure(
        plan.mode == Mode::Hold || (plan.duration_s > 0.0 && plan.duration_s <= DAY_S),
        "`duration_s` must be above 0 and at most a day",
    )?;
    for (name, value) in [("warmup_s", plan.warmup_s), ("drain_s", plan.drain_s)] {
        ensure(
            (0.0..=DAY_S).contains(&value),
            format!("`{name}` must be from 0 to a day"),
        )?;
    }
    ensure(
        (0.0..=DAY_S * 1000.0).contains(&plan.cancel_after_ms),
        "`cancel_after_ms` must be from 0 to a day",
    )?;
    for (name, value) in [
        ("timeout_s", plan.timeout_s),
        ("connect_timeout_s", plan.connect_timeout_s),
    ] {
        ensure(
            value > 0.0 && value <= DAY_S,
            format!("`{name}` must be above 0 and at most a day"),
        )?;
    }
    Ok(())
}

/// What is put into heads and bodies as it stands.
fn words(plan: &Plan) -> Refusal {
    let bare = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
    };
    ensure(
        plan.path.starts_with('/') && !plan.path.bytes().any(|byte| byte <= b' '),
        "`path` must begin with / and hold no spaces",
    )?;
    ensure(
        plan.tool.as_deref().is_none_or(bare),
        "`tool` must be plain ASCII without quotes",
    )?;
    ensure(
        plan.tools.iter().all(|tool| bare(tool)),
        "`tools` must be plain ASCII without quotes",
    )?;
    ensure(
        bare(&plan.uri) && plan.uri.matches("{text}").count() == 1,
        "`uri` must be plain ASCII without quotes and hold {text} once",
    )
}

fn together(plan: &Plan) -> Refusal {
    ensure(
        plan.port.is_some() == plan.targets.is_empty(),
        "give either `port` or `targets`",
    )?;
    ensure(
        plan.tool.is_none() || plan.tools.is_empty(),
        "give either `tool` or `tools`",
    )?;
    if let Some(mix) = plan.mix {
        ensure(
            u64::from(mix.list) + u64::from(mix.call) + u64::from(mix.read) > 0,
            "`mix` needs a weight above 0",
        )?;
    }
    let loops = matches!(plan.mode, Mode::Closed | Mode::Open);
    for (key, asked) in [
        ("mix", plan.mix.is_some()),
        ("events", plan.events > 0),
        ("chain", plan.chain > 1),
        ("cancel_per_mille", plan.cancel_per_mille > 0),
        ("session_calls", plan.session_calls > 0),
    ] {
        ensure(
            loops || !asked,
            format!("`{key}` needs mode \"closed\" or \"open\""),
        )?;
    }
    ensure(
        plan.burst == 0 || plan.mode == Mode::Open,
        "`burst` needs mode \"open\"",
    )?;
    ensure(
        plan.burst == 0 || plan.rate_per_s.is_none(),
        "give either `burst` or `rate_per_s`",
    )?;
    ensure(
        plan.session_calls == 0 || plan.era == Era::Legacy,
        "`session_calls` needs era \"legacy\": modern requests have no session",
    )?;
    for (key, asked) in [
        ("mix", plan.mix.is_some()),
        ("cancel_per_mille", plan.cancel_per_mille > 0),
        ("session_calls", plan.session_calls > 0),
    ] {
        ensure(
            plan.chain == 1 || !asked,
            format!("`chain` is of calls that all come to their end; leave `{key}` out"),
        )?;
    }
    Ok(())
}
