//! A run: settle the connections, warm up, measure, drain. The order of phases is the data flow of this file.
//!
//! Rule: "measuring" and "measured" are published at the very edges of the window, because whoever listens reads CPU clocks
//! on them; nothing is computed between the window's end and "measured".

use serde_json::json;

use crate::client::{Client, Event};
use crate::pacer::{Arrivals, Pacer};
use crate::plan::{Mode, Plan, nanoseconds};
use crate::record::{Ended, Outcome, Recorder};
use crate::sys::{self, now_ns};
use crate::{Failure, Host, hold};

/// At most so many connections are being opened at once, to stay within the listener's backlog.
pub const OPENING: usize = 64;

/// Runs a plan; returns the result event.
pub fn run(plan: &[u8], host: &mut dyn Host) -> Result<String, Failure> {
    let plan = Plan::parse(plan)?;
    sys::raise_open_files();
    if let Some(cpu) = plan.cpu {
        sys::pin(cpu)?;
    }
    if plan.mode == Mode::Hold {
        let mut client = Client::new(&plan)?;
        let control = sys::stdin_lines(client.waker());
        return hold::run(&plan, &mut client, &control, host);
    }
    let outcome = measure(&plan, host)?;
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
                Event::Failed(kind) => why = Some(*kind),
                Event::Ended(_) => {}
            }
        }
        if now_ns() >= deadline {
            let why = why.map_or_else(|| "no answer".into(), |kind| kind.to_string());
            return Err(Failure::Target(format!(
                "only {} of {} connections to {}:{}{} came up within {} s (last failure: {why}); is the server running?",
                up.len(),
                to - from,
                plan.host,
                plan.port,
                plan.path,
                plan.connect_timeout_s
            )));
        }
    }
    Ok(up)
}

fn measure(plan: &Plan, host: &mut dyn Host) -> Result<Outcome, Failure> {
    let mut client = Client::new(plan)?;
    let up = settle(plan, &mut client, 0, plan.connections, host)?;
    host.emit(&json!({"event": "ready", "connections": up.len()}).to_string())?;

    let begin = now_ns();
    let from = begin + nanoseconds(plan.warmup_s);
    let to = from + nanoseconds(plan.duration_s);
    let open = plan.mode == Mode::Open;
    let mut pacer = match plan.rate_per_s {
        Some(rate) if open => Pacer::open(Arrivals::new(plan.arrivals, rate, begin, plan.seed)),
        _ => Pacer::closed(),
    };
    for key in up {
        pacer.idle(key);
    }
    let mut run = Run {
        client,
        pacer,
        recorder: Recorder::new(open, from, to),
        to,
        open,
        events: Vec::new(),
    };
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

struct Run {
    client: Client,
    pacer: Pacer,
    recorder: Recorder,
    to: u64,
    open: bool,
    events: Vec<Event>,
}

impl Run {
    fn until(&mut self, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        loop {
            let now = now_ns();
            if now >= end {
                return Ok(());
            }
            self.turn(now, end, host)?;
        }
    }

    /// Sends nothing new, but lets what was due be sent and answered; what is left then was missed or timed out.
    fn drain(&mut self, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        // What fell due since the last turn must be in line before the line can be called empty.
        let (recorder, now) = (&mut self.recorder, now_ns());
        self.pacer
            .advance(now, self.to, |due| recorder.late(due, now));
        while now_ns() < end
            && !(self.pacer.line_is_empty() && self.client.unanswered().next().is_none())
        {
            self.turn(now_ns(), end, host)?;
        }
        for due in self.pacer.unsent() {
            self.recorder.missed(due);
        }
        for ended in self.client.unanswered() {
            self.recorder.ended(ended);
        }
        Ok(())
    }

    fn turn(&mut self, now: u64, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        let recorder = &mut self.recorder;
        self.pacer
            .advance(now, self.to, |due| recorder.late(due, now));
        while let Some((key, due)) = self.pacer.take(now, |key| self.client.is_idle(key)) {
            let sent_ns = self.client.send(key, due);
            // In the closed loop a request is due when it is sent, not when the batch before it was read.
            recorder.sent(due, sent_ns);
        }
        let wake = self.pacer.next_ns().min(end);
        self.events = self
            .client
            .wait(wake, std::mem::take(&mut self.events), host)?;
        for event in &self.events {
            match event {
                Event::Up(key) => self.pacer.idle(*key),
                Event::Ended(ended) if self.open => self.recorder.ended(*ended),
                Event::Ended(ended) => self.recorder.ended(Ended {
                    due_ns: ended.sent_ns,
                    ..*ended
                }),
                Event::Failed(kind) => {
                    // The attempt was made for the request that waited longest; in the closed loop, for the next one.
                    let now = now_ns();
                    let due_ns = if self.open {
                        self.pacer.fail_one()
                    } else {
                        Some(now)
                    };
                    if let Some(due_ns) = due_ns {
                        self.recorder.ended(Ended {
                            due_ns,
                            sent_ns: 0,
                            end_ns: now,
                            verdict: Err(*kind),
                        });
                    }
                }
                Event::Lost(_) => {}
            }
        }
        Ok(())
    }
}
