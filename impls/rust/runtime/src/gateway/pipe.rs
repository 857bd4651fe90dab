//! The other face: one client of either era on stdin and stdout, newline-delimited.
//!
//! The rule: nothing but messages is ever written to stdout, each in one piece; requests run beside each other, and
//! an id is one of them at a time; at the end of stdin what is under way is answered, if it does not take too long, and
//! then the face ends.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use super::answer::Answer;
use super::dispatch::{self, Heads, Plan};
use super::hears::notification;
use super::lines::{Lines, TOO_LONG, write};
use super::listen::Listen;
use super::sessions::Session;
use super::work::{self, Ask};
use super::{Gateway, calling};
use crate::clock::lock;
use crate::envelope::{self, Envelope};
use crate::error::{Error, Result};
use crate::manager::Inner;
use crate::news::List;
use crate::principal::Principal;
use crate::translate::session as rules;

/// Answers that wait for a client that does not read; then its requests wait, too.
const ANSWERS: usize = 64;
/// How long the answers that are missing at the end of stdin may take; clients wait about so long before they kill.
const GRACE: Duration = Duration::from_secs(5);
/// How much of an id is repeated in a message about it.
const SHOWN: usize = 80;

#[derive(Debug)]
struct Running {
    cancelled: Arc<AtomicBool>,
    task: AbortHandle,
}

type InFlight = Arc<Mutex<HashMap<Box<[u8]>, Running>>>;

pub(crate) async fn serve(manager: Arc<Inner>) -> Result<()> {
    let limit = manager.gateway.max_body_bytes;
    let gateway = Arc::new(Gateway::unbound(
        manager,
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        true,
    ));
    let (answers, outgoing) = mpsc::channel::<Vec<u8>>(ANSWERS);
    let writer = gateway.manager.shared.handle.spawn(write(outgoing));
    let mut face = Face {
        gateway,
        answers,
        in_flight: InFlight::default(),
        tasks: JoinSet::new(),
        tellers: JoinSet::new(),
        session: None,
    };
    let mut stdin = tokio::io::stdin();
    let mut lines = Lines::new(limit);
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let read = stdin.read(&mut chunk).await.map_err(|error| {
            Error::internal(format!(
                "stdin cannot be read ({error}); start it with a client on its stdin"
            ))
        })?;
        if read == 0 {
            break;
        }
        lines.feed(&chunk[..read]);
        while let Some(line) = lines.next() {
            let Ok(line) = line else {
                let refused =
                    Answer::rpc_error(200, None, super::answer::INVALID_REQUEST, TOO_LONG).body;
                let _ = face.answers.send(refused).await;
                continue;
            };
            face.take(line).await;
        }
        while face.tasks.try_join_next().is_some() {}
    }
    if let Some(line) = lines.last() {
        face.take(line).await;
    }
    face.leave().await;
    let _ = writer.await;
    Ok(())
}

/// Passes changes on to a client that has shaken hands.
async fn tell(gateway: Arc<Gateway>, session: Arc<Session>, answers: mpsc::Sender<Vec<u8>>) {
    let hears = session.hears(&gateway);
    hears.listen(&gateway.manager, &List::ALL);
    loop {
        let note = notification(&hears.next().await, b"");
        if answers.send(note).await.is_err() {
            return;
        }
    }
}

/// Passes on what a client of the stateless revision subscribed to, until it is cancelled.
async fn listen(
    gateway: &Gateway,
    id: &[u8],
    line: &[u8],
    env: &Envelope,
    answers: &mpsc::Sender<Vec<u8>>,
) -> Vec<u8> {
    let listen = match Listen::open(gateway, id, line, env).await {
        Ok(listen) => listen,
        Err(refused) => return refused.body,
    };
    let mut next = listen.acknowledgement().to_vec();
    while answers.send(next).await.is_ok() {
        next = tokio::select! {
            next = listen.next() => next,
            () = gateway.stopping() => break,
        };
    }
    listen.over()
}

/// The conversation.
struct Face {
    gateway: Arc<Gateway>,
    answers: mpsc::Sender<Vec<u8>>,
    in_flight: InFlight,
    /// Requests.
    tasks: JoinSet<()>,
    /// What is told unasked.
    tellers: JoinSet<()>,
    session: Option<String>,
}

impl Face {
    /// Stdin has ended: nobody answers questions any more, and what is under way is answered, within a grace.
    async fn leave(mut self) {
        self.tellers.abort_all();
        self.gateway.leave();
        let session = self.session.as_deref().map(str::as_bytes);
        let sessions = &self.gateway.sessions;
        if let Some(session) = session.and_then(|id| sessions.get(id, Principal::Anonymous)) {
            session.asked.end();
        }
        let done = async { while self.tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, done).await;
        self.tasks.shutdown().await;
        self.tellers.shutdown().await;
    }

    /// One message of the client.
    async fn take(&mut self, line: Vec<u8>) {
        let Self {
            gateway,
            answers,
            in_flight,
            tasks,
            tellers,
            session,
        } = self;
        if line.trim_ascii().is_empty() {
            return;
        }
        let Some((plan, env)) = decide(gateway, &line, session.as_deref(), in_flight) else {
            return;
        };
        match plan {
            Plan::Answer(answer) => {
                if !answer.body.is_empty() && !is_told(&line, &env) {
                    let _ = answers.send(answer.body).await;
                }
            }
            Plan::Initialize(_) => {
                let voice = calling::voice(gateway, &plan, &line, &env);
                let ask = Ask {
                    cancels: None,
                    principal: Principal::Anonymous,
                    sent: None,
                    voice: &voice,
                };
                let answer = work::run(gateway, plan, &line, &env, ask).await;
                if answer.session.is_some() {
                    session.clone_from(&answer.session);
                }
                let _ = answers.send(answer.body).await;
                let id = answer.session.as_ref().map(String::as_bytes);
                let opened = id.and_then(|id| gateway.sessions.get(id, Principal::Anonymous));
                if let Some(session) = opened {
                    session.home.on(answers);
                    tellers.spawn(tell(Arc::clone(gateway), session, answers.clone()));
                }
            }
            Plan::Listen(id) => {
                let (gateway, answers, own) = (Arc::clone(gateway), answers.clone(), id.clone());
                let known = Arc::clone(in_flight);
                let mut running = lock(in_flight);
                let task = tasks.spawn(async move {
                    let last = listen(&gateway, &own, &line, &env, &answers).await;
                    lock(&known).remove(&own);
                    let _ = answers.send(last).await;
                });
                let cancelled = Arc::default();
                running.insert(id, Running { cancelled, task });
            }
            plan => {
                let id: Box<[u8]> = env.id.map(|span| span.of(&line).into()).unwrap_or_default();
                let cancelled = Arc::new(AtomicBool::new(false));
                let (gateway, answers, flag) =
                    (Arc::clone(gateway), answers.clone(), Arc::clone(&cancelled));
                let (known, own) = (Arc::clone(in_flight), id.clone());
                let mut running = lock(in_flight);
                let task = tasks.spawn(async move {
                    let voice = calling::voice(&gateway, &plan, &line, &env);
                    let ask = Ask {
                        cancels: Some(&flag),
                        principal: Principal::Anonymous,
                        sent: None,
                        voice: &voice,
                    };
                    let mut working = Box::pin(work::run(&gateway, plan, &line, &env, ask));
                    let answer = loop {
                        let said = poll_fn(|cx| match working.as_mut().poll(cx) {
                            Poll::Ready(answer) => Poll::Ready(Err(answer)),
                            Poll::Pending => voice.poll_said(cx).map(Ok),
                        });
                        match said.await {
                            // A client that does not read makes its own requests wait.
                            Ok(said) => drop(answers.send(said).await),
                            Err(answer) => break answer,
                        }
                    };
                    for said in voice.rest() {
                        let _ = answers.send(said).await;
                    }
                    lock(&known).remove(&own);
                    let _ = answers.send(answer.body).await;
                });
                running.insert(id, Running { cancelled, task });
            }
        }
    }
}

/// What is to be done about a line; none for a cancellation, which is done.
fn decide(
    gateway: &Gateway,
    line: &[u8],
    session: Option<&str>,
    in_flight: &InFlight,
) -> Option<(Plan, Envelope)> {
    let faulty = |fault| {
        let answer = Box::new(dispatch::faulty(fault));
        Some((Plan::Answer(answer), Envelope::default()))
    };
    match envelope::scan(line) {
        Ok(env) if env.complete => {
            if cancels(line, &env, in_flight) {
                return None;
            }
            if let Some(refused) = taken(line, &env, in_flight) {
                return Some((Plan::Answer(Box::new(refused)), env));
            }
            let heads = Heads {
                session: session.map(str::as_bytes),
                ..Heads::default()
            };
            Some((dispatch::plan(gateway, &heads, line, &env), env))
        }
        Ok(_) => faulty(envelope::Fault::Syntax(line.len())),
        Err(fault) => faulty(fault),
    }
}

/// Whether the client asks for no answer: a notification, or a response. Nobody could tell what a refusal is about.
fn is_told(line: &[u8], env: &Envelope) -> bool {
    (env.method.is_none() || env.id.is_none()) && rules::read(line, env).is_ok()
}

/// `notifications/cancelled` stops the request it names; nothing is sent for it afterwards.
fn cancels(line: &[u8], env: &Envelope, in_flight: &InFlight) -> bool {
    if env.id.is_some()
        || env
            .method
            .is_none_or(|span| span.of(line) != b"\"notifications/cancelled\"")
    {
        return false;
    }
    if let Some(id) = env.members.request_id
        && let Some(running) = lock(in_flight).remove(id.of(line))
    {
        running.cancelled.store(true, Relaxed);
        running.task.abort();
    }
    true
}

/// The refusal of a second request with an id that is in flight. It goes out without that id: the client would take it
/// for the answer to the request that it is waiting for.
fn taken(line: &[u8], env: &Envelope, in_flight: &InFlight) -> Option<Answer> {
    env.method?;
    let id = env.id?.of(line);
    if !lock(in_flight).contains_key(id) {
        return None;
    }
    let shown = String::from_utf8_lossy(&id[..id.len().min(SHOWN)]);
    let why = format!(
        "id {shown} is in flight already; send it again with an id of its own, or when that one is answered"
    );
    Some(Answer::rpc_error(
        200,
        None,
        super::answer::INVALID_REQUEST,
        &why,
    ))
}
