//! A run: settle the connections, warm up, measure, drain. The order of phases is the data flow of this file.
//!
//! Rule: "measuring" and "measured" are published at the very edges of the window, because whoever listens reads CPU clocks
//! on them; nothing is computed between the window's end and "measured".

use serde_json::json;

use crate::client::{Client, Event};
use crate::pacer::{Arrivals, Pacer};
use crate::plan::{Mode, Plan, nanoseconds};
use crate::record::{Outcome, Recorder};
use crate::sys::{self, now_ns};
use crate::{Failure, Host, hold, sched, storm};

mod turns;
mod units;

use turns::Run;

/// At most so many connections are being opened at once, to stay within the listener's backlog.
pub const OPENING: usize = 64;

/// Runs a plan; returns the result event.
pub fn run(plan: &[u8], host: &mut dyn Host) -> Result<String, Failure> {
    let plan = Plan::parse(plan)?;
    sys::raise_open_files();
    if let Some(cpu) = plan.cpu {
        sched::pin(cpu)?;
    }
    if plan.mode == Mode::Hold {
        let mut client = Client::new(&plan)?;
        let control = sys::stdin_lines(client.waker());
        return hold::run(&plan, &mut client, &control, host);
    }
    let outcome = match plan.mode {
        Mode::Connect => storm::run(&plan, host)?,
        _ if plan.burst > 0 => burst(&plan, host)?,
        _ => measure(&plan, host)?,
    };
    serde_json::to_string(&outcome)
        .map_err(|why| Failure::Usage(format!("cannot write the result: {why}; report it")))
}

/// Opens the plan's connections and waits until all are up; returns those.
pub fn settle(
    plan: &Plan,
    client: &mut Client,
    from: usize,
    to: usize,
    host: &mut dyn Host,
) -> Result<Vec<usize>, Failure> {
    let deadline = now_ns() + nanoseconds(plan.connect_timeout_s);
    let (mut added, mut up, mut events) = (from, Vec::new(), Vec::new());
    let mut why = None;
    while up.len() < to - from {
        while added < to && added - from - up.len() < OPENING {
            client.add();
            added += 1;
        }
        events = client.wait(deadline, events, host)?;
        for event in &events {
            match event {
                Event::Up(key) => up.push(*key),
                Event::Lost(key) => up.retain(|other| other != key),
                Event::Failed(_, kind) => why = Some(*kind),
                Event::Ended(..) | Event::Renewed(..) => {}
            }
        }
        if now_ns() >= deadline {
            let why = why.map_or_else(|| "no answer".into(), |kind| kind.to_string());
            return Err(Failure::Target(format!(
                "only {} of {} connections to {} came up within {} s (last failure: {why}); is the server running?",
                up.len(),
                to - from,
                plan.whither(),
                plan.connect_timeout_s
            )));
        }
    }
    Ok(up)
}

fn measure(plan: &Plan, host: &mut dyn Host) -> Result<Outcome, Failure> {
    let open = plan.mode == Mode::Open;
    let _batch = (!open).then(sched::Batch::begin);
    let mut client = Client::new(plan)?;
    client.stands_back = !open;
    let up = settle(plan, &mut client, 0, plan.connections, host)?;
    host.emit(&json!({"event": "ready", "connections": up.len()}).to_string())?;

    let begin = now_ns();
    let from = begin + nanoseconds(plan.warmup_s);
    let to = from + nanoseconds(plan.duration_s);
    let mut pacer = match plan.rate_per_s {
        Some(rate) if open => Pacer::open(Arrivals::new(plan.arrivals, rate, begin, plan.seed)),
        _ => Pacer::closed(),
    };
    for key in up {
        pacer.idle(key);
    }
    let mut run = Run::new(plan, client, pacer, Recorder::new(open, from, to), to);
    run.until(from, host)?;
    let cpu_before = sys::thread_cpu_ns();
    host.emit(r#"{"event":"measuring"}"#)?;
    run.until(to, host)?;
    let cpu_ns = sys::thread_cpu_ns() - cpu_before;
    host.emit(r#"{"event":"measured"}"#)?;
    if open {
        run.drain(to + nanoseconds(plan.drain_s), host)?;
    }
    run.recorder.outcome(cpu_ns)
}

/// Warm-up is a closed loop here, and is over before the burst begins. The window ends with the last answer, whatever
/// that takes within `duration_s` and `drain_s`: processor time is that of all answers.
fn burst(plan: &Plan, host: &mut dyn Host) -> Result<Outcome, Failure> {
    let mut client = Client::new(plan)?;
    let mut up = settle(plan, &mut client, 0, plan.connections, host)?;
    host.emit(&json!({"event": "ready", "connections": up.len()}).to_string())?;
    if plan.warmup_s > 0.0 {
        let end = now_ns() + nanoseconds(plan.warmup_s);
        let warm = Recorder::new(false, u64::MAX - 1, u64::MAX);
        let mut run = Run::new(plan, client, Pacer::closed(), warm, end);
        for key in up.drain(..) {
            run.pacer.idle(key);
        }
        run.until(end, host)?;
        up = run.settle(end + nanoseconds(plan.timeout_s), host)?;
        client = run.client;
    }
    let cpu_before = sys::thread_cpu_ns();
    host.emit(r#"{"event":"measuring"}"#)?;
    let from = now_ns();
    let to = from + nanoseconds(plan.duration_s + plan.drain_s);
    let pacer = Pacer::open(Arrivals::burst(plan.burst, from));
    let mut run = Run::new(plan, client, pacer, Recorder::new(true, from, to), to);
    for key in up {
        run.pacer.idle(key);
    }
    while run.recorder.over() < plan.burst && now_ns() < to {
        run.turn(now_ns(), to, host)?;
    }
    let cpu_ns = sys::thread_cpu_ns() - cpu_before;
    host.emit(r#"{"event":"measured"}"#)?;
    run.recorder.close(now_ns());
    run.drain(0, host)?;
    let drain_ms = run.recorder.drain_ms();
    let outcome = run.recorder.outcome(cpu_ns)?;
    Ok(Outcome {
        drain_ms: Some(drain_ms),
        ..outcome
    })
}
