//! The wire form of the rollout core.

use serde_json::{Value, json};

use super::{Stepped, one};
use crate::rollout::Rollout;
use crate::rollout_plan::Step;

pub(super) fn step(rollout: &mut Rollout, now_ns: u64, op: &str, args: &str) -> Stepped {
    let steps = match op {
        "begin" => rollout.begin(now_ns),
        "ready" => rollout.ready(now_ns),
        "start_failed" => rollout.start_failed(now_ns),
        "stopped" => rollout.stopped(now_ns),
        "revived" => rollout.revived(now_ns),
        "sample" => rollout.sample(now_ns, one(op, args)?),
        "compared" => rollout.compared(now_ns, one(op, args)?),
        "abort" => rollout.abort(now_ns),
        "tick" => rollout.tick(now_ns),
        "next_deadline_ns" => return Ok(Some(json!(rollout.next_deadline_ns()))),
        "phase" => return Ok(Some(json!(rollout.phase().as_str()))),
        "counts" => {
            return Ok(Some(json!([
                rollout.share(),
                rollout.starting(),
                rollout.ready_new(),
                rollout.old_live(),
                rollout.retiring(),
                rollout.samples(),
                rollout.failures(),
            ])));
        }
        _ => return Ok(None),
    };
    Ok(Some(steps.into_iter().map(wire).collect()))
}

fn wire(step: Step) -> Value {
    match step {
        Step::Start(count) => json!(["start", count]),
        Step::StartOld(count) => json!(["start_old", count]),
        Step::Share(percent) => json!(["share", percent]),
        Step::Shadow(on) => json!(["shadow", on]),
        Step::Hold(on) => json!(["hold", on]),
        Step::RetireOld(count) => json!(["retire_old", count]),
        Step::RetireNew => json!(["retire_new"]),
        Step::Done => json!(["done"]),
        Step::RolledBack(reason) => json!(["rolled_back", reason.as_str()]),
    }
}
