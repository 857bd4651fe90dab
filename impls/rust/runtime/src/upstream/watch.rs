//! Listens to a server for as long as somebody wants to hear of its changes, whatever it speaks.
//!
//! The rules: nothing is opened while nobody is interested, nor a process started that nobody has called yet; what is
//! lost is opened again, later and later while that fails; after a gap all lists count as changed, because nobody may
//! rely on what was missed.

mod legacy;
mod modern;
mod returning;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Link, Server};
use crate::info::Era;
use crate::listing;
use crate::manager::ListKind;

/// How long opening may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until it is opened again, at first and at most.
const FIRST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(30);
/// What was open for so long was no failure.
const STEADY: Duration = Duration::from_secs(5);
/// Those who come back at once find it still open.
const LINGER: Duration = Duration::from_millis(100);

/// Why watching one instance ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Something else is to be watched, or in another way.
    Other,
    /// What was open is gone.
    Lost,
    /// It could not be opened.
    Failed,
    /// The server has nothing to listen to.
    Nothing,
}

/// Whether what was heard since somebody wanted it is all that there was to hear. An opening that failed counts: who
/// listens was told so before.
#[derive(Debug, Default)]
struct Gap {
    missed: bool,
    /// There is a new session since it was open.
    renewed: bool,
}

impl Gap {
    /// It is open (again). `resumed`: nothing can have been missed.
    fn open(&mut self, server: &Server, resumed: bool) {
        if self.missed && !resumed {
            server.out_of_sight();
        }
        *self = Self::default();
    }

    /// The session is another one: at once in that, but not in one after the other.
    fn renewed(&mut self) -> End {
        self.miss();
        if std::mem::replace(&mut self.renewed, true) {
            End::Lost
        } else {
            End::Other
        }
    }

    fn miss(&mut self) {
        self.missed = true;
    }
}

/// Watches until nobody wants it any more, or the server closes.
pub(super) async fn run(server: &Arc<Server>) {
    tokio::select! {
        () = follow(server) => {}
        () = returning::run(server) => {}
        () = server.ended() => {}
    }
    let left = server.interest.to_forget();
    if let Some(link) = server.fleet().front.clone()
        && !server.is_closing()
    {
        legacy::forget(&link, left).await;
    }
    server.interest.unsettle();
}

async fn follow(server: &Arc<Server>) {
    let mut pause = FIRST;
    let mut gap = Gap::default();
    loop {
        if !stays_wanted(server).await {
            return;
        }
        let front = server.fleet().front.clone();
        let since = Instant::now();
        let end = match &front {
            Some(link) if may_start(server, link) => {
                tokio::select! {
                    end = one(server, link, &mut gap) => end,
                    () = turned(server, link) => End::Other,
                }
            }
            _ => End::Nothing,
        };
        if end != End::Other || !front.as_ref().is_some_and(|link| is_front(server, link)) {
            server.interest.unsettle();
        }
        match end {
            End::Other => {}
            End::Nothing => otherwise(server, front.as_ref()).await,
            End::Lost | End::Failed => {
                gap.miss();
                if since.elapsed() >= STEADY {
                    pause = FIRST;
                }
                let wake = Instant::now() + jittered(pause);
                pause = (pause * 2).min(MOST);
                tokio::time::sleep_until(wake.into()).await;
            }
        }
    }
}

/// Half of it and up to half more, so that not everybody comes back at the same moment.
fn jittered(pause: Duration) -> Duration {
    let part = u32::try_from(crate::clock::now_ns() % 512).unwrap_or(0);
    pause / 2 + pause * part / 1024
}

async fn stays_wanted(server: &Arc<Server>) -> bool {
    if !server.is_wanted() {
        tokio::time::sleep(LINGER).await;
    }
    server.is_wanted()
}

fn is_front(server: &Server, link: &Link) -> bool {
    server
        .fleet()
        .front
        .as_ref()
        .is_some_and(|front| front.is(link))
}

/// Whether listening may connect: not to what is started on use, unless a resource of it is wanted.
fn may_start(server: &Server, link: &Link) -> bool {
    link.agreed().is_some() || !server.spec().lazy || server.interest.wants_resources()
}

/// Resolves when nobody wants it, or another instance is in front.
async fn turned(server: &Arc<Server>, link: &Link) {
    changes(server, || !server.is_wanted() || !is_front(server, link)).await;
}

/// Resolves when there is a reason to look again at a server that has nothing to listen to.
async fn otherwise(server: &Arc<Server>, link: Option<&Link>) {
    let state = |link: Option<&Link>| {
        let link = link?;
        Some((
            link.agreed().map(|agreed| Arc::as_ptr(&agreed).addr()),
            link.conversation(),
        ))
    };
    let before = (state(link), server.interest.to_tell());
    changes(server, || {
        !server.is_wanted()
            || !link.is_some_and(|link| is_front(server, link))
                && (link.is_some() || server.fleet().front.is_some())
            || (state(link), server.interest.to_tell()) != before
    })
    .await;
}

/// Resolves when `now` is true, looked at whenever something changed.
async fn changes(server: &Server, now: impl Fn() -> bool) {
    loop {
        let changed = server.interest.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if now() {
            return;
        }
        changed.await;
    }
}

async fn one(server: &Arc<Server>, link: &Link, gap: &mut Gap) -> End {
    let Ok(agreed) = link.ready(Instant::now() + PATIENCE).await else {
        return End::Failed;
    };
    match (agreed.era, link) {
        (Era::Modern, Link::Http(link)) => modern::http(server, link, gap).await,
        (Era::Modern, Link::Stdio(link)) => modern::child(server, link, gap).await,
        (Era::Legacy, link) => legacy::run(server, link, gap).await,
    }
}

impl Server {
    /// What happened at it meanwhile nobody knows.
    fn out_of_sight(&self) {
        let agreed = self.agreed();
        let offered = agreed
            .as_ref()
            .and_then(|agreed| agreed.capabilities.as_deref());
        for kind in [ListKind::Tools, ListKind::Prompts, ListKind::Resources] {
            if listing::offers(offered, kind) {
                self.list_changed(kind.key());
            }
        }
        for uri in self.interest.wanted() {
            self.updated(&uri, None);
        }
    }
}
