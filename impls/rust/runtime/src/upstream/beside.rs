//! The GET stream of a session that is one client's alone: what its server says there belongs to no request.
//!
//! The rules: it is for questions and log messages; changes of lists and resources are heard elsewhere, once for
//! everybody. A question goes to the client itself, else to the call that has the session, else it is refused. A server
//! without such a stream has none; the stream ends with its session, on every way out.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::hearing::Asker;
use super::http::HttpLink;
use super::session::UpstreamSession;
use super::stream::{EventStream, Get, Opened};
use crate::clock::lock;
use crate::envelope;
use crate::gateway::sessions::Session;
use crate::gateway::voice::Voice;

/// How long a call waits for the stream: what the server asks first must not be lost, and must not hold it up.
const HEED: Duration = Duration::from_secs(1);
/// How long opening may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until it is opened again, at first and at most.
const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(30);
/// What was open for so long was no failure.
const STEADY: Duration = Duration::from_secs(5);
/// Longer than a client may take; then it is waited for anew.
const EVER: Duration = Duration::from_secs(24 * 3600);
/// Stands for no progress token: what is told of a request comes with its answer.
const NO_TOKEN: u64 = u64::MAX;

/// What one session has beside its calls.
#[derive(Debug, Default)]
pub(crate) struct Beside(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    task: Option<AbortHandle>,
    over: bool,
    /// Those of its calls under way, the latest last.
    voices: Vec<Arc<Voice>>,
}

impl Beside {
    /// Nothing is heard any more.
    pub(crate) fn end(&self) {
        let task = {
            let mut state = lock(&self.0);
            state.over = true;
            state.task.take()
        };
        if let Some(task) = task {
            task.abort();
        }
    }

    fn keep(&self, task: AbortHandle) {
        let mut state = lock(&self.0);
        if state.over {
            task.abort();
        } else {
            state.task = Some(task);
        }
    }

    /// A call has the session until this is dropped; nothing if nobody listens beside it.
    pub(super) fn calling<'a>(&'a self, voice: Option<&'a Arc<Voice>>) -> Option<Calling<'a>> {
        let voice = voice?;
        let mut state = lock(&self.0);
        state.task.as_ref()?;
        state.voices.push(Arc::clone(voice));
        Some(Calling {
            beside: self,
            voice,
        })
    }

    fn latest(&self) -> Option<Arc<Voice>> {
        lock(&self.0).voices.last().cloned()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.end();
    }
}

/// A call that has the session.
pub(super) struct Calling<'a> {
    beside: &'a Beside,
    voice: &'a Arc<Voice>,
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        let own = {
            let voices = &mut lock(&self.beside.0).voices;
            let at = voices.iter().position(|one| Arc::ptr_eq(one, self.voice));
            at.map(|at| voices.swap_remove(at))
        };
        drop(own);
    }
}

/// Listens to `session` from now on, for the client `whose` it is, or else for the call that has it. Returns when it
/// can be heard, or soon.
pub(crate) async fn listen(
    link: &Arc<HttpLink>,
    session: &Arc<UpstreamSession>,
    whose: Option<&Arc<Session>>,
) {
    if session.id.is_none() {
        return; // nothing ties a stream to it
    }
    let (open, opened) = oneshot::channel();
    let desk = Desk {
        link: Arc::clone(link),
        session: Arc::downgrade(session),
        home: whose.map(|whose| (Arc::clone(whose), whose.home_voice())),
    };
    let task = link.handle().spawn(desk.run(open));
    session.beside.keep(task.abort_handle());
    if link.is_closed() {
        session.beside.end();
    }
    // What cannot be opened, or not so soon, is no reason not to call.
    let _ = tokio::time::timeout(HEED, opened).await;
}

/// Who reads one stream.
struct Desk {
    link: Arc<HttpLink>,
    session: Weak<UpstreamSession>,
    /// The client whose the session is, and the voice for what belongs to no request of it.
    home: Option<(Arc<Session>, Arc<Voice>)>,
}

impl Desk {
    async fn run(self, open: oneshot::Sender<()>) {
        let mut open = Some(open);
        let mut after: Option<Vec<u8>> = None;
        let mut pause = FIRST;
        loop {
            let Some(session) = self.session.upgrade() else {
                return;
            };
            let (version, id) = (session.version.clone(), session.id.clone());
            drop(session);
            let get = Get {
                version: Some(&version),
                session: id.as_deref(),
                after: after.as_deref(),
            };
            let since = Instant::now();
            match self.link.get_stream(&get, since + PATIENCE).await {
                Ok(Opened::Stream(mut stream)) => {
                    if let Some(open) = open.take() {
                        let _ = open.send(()); // who waited may have given up
                    }
                    self.read(&mut stream).await;
                    after = stream.events.last_id().map(<[u8]>::to_vec).or(after);
                    if since.elapsed() >= STEADY {
                        pause = FIRST;
                    }
                    pause = pause.max(stream.pause());
                }
                Ok(Opened::Else { .. }) => return, // there is none, or the session is gone
                Err(_) => open = None,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MOST);
        }
    }

    /// Until the stream ends; meanwhile what the client is asked goes to it.
    async fn read(&self, stream: &mut EventStream) {
        loop {
            let Some((client, voice)) = &self.home else {
                match stream.next().await {
                    Ok(Some(event)) => self.hear(&event.data),
                    _ => return,
                }
                continue;
            };
            let either = async {
                tokio::select! {
                    event = stream.next() => Err(event),
                    said = poll_fn(|cx| voice.poll_said(cx)) => Ok(said),
                }
            };
            match voice.within(Instant::now() + EVER, either).await {
                Some(Ok(said)) => client.say_at_home(said).await,
                Some(Err(Ok(Some(event)))) => self.hear(&event.data),
                Some(Err(_)) => return,
                None => {}
            }
        }
    }

    fn hear(&self, message: &[u8]) {
        let Ok(found) = envelope::scan(message) else {
            return;
        };
        let Some(session) = self.session.upgrade().filter(|_| found.method.is_some()) else {
            return;
        };
        let home = self.home.as_ref().map(|(client, voice)| {
            let here = client.is_at_home();
            (voice, here)
        });
        let call = session.beside.latest();
        let at_home = home.and_then(|(voice, here)| here.then_some(voice));
        let voice = at_home.or(call.as_ref());
        if found.id.is_some() {
            Asker::Http(Arc::clone(&self.link), Arc::clone(&session)).asked(message, &found, voice);
            return;
        }
        let taken_back = found
            .method
            .is_some_and(|span| span.of(message) == b"\"notifications/cancelled\"");
        if taken_back {
            // Whoever was asked; meanwhile another one would be.
            for voice in home.iter().map(|(voice, _)| *voice).chain(&call) {
                voice.hear(message, &found, NO_TOKEN);
            }
        } else if let Some(voice) = voice {
            voice.hear(message, &found, NO_TOKEN);
        }
    }
}
