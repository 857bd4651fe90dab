//! Requests for one server: which server, and whether their bytes can pass through.
//!
//! The rule: bytes pass only where both sides speak the same era, or only `params._meta` differs; where ids of several
//! clients would meet in one session, or the answer may be kept for others, the manager calls with its own.

use super::{Forward, Plan, Verb, Way, Who, answer, error};
use crate::envelope::Envelope;
use crate::gateway::Gateway;
use crate::gateway::answer::{Answer, INVALID_PARAMS};
use crate::info::Era;
use crate::reads;
use crate::route::{self, Subject};
use crate::upstream::Link;

pub(super) fn forward(
    gateway: &Gateway,
    body: &[u8],
    env: &Envelope,
    verb: Verb,
    id: &[u8],
    who: Who,
) -> Plan {
    let members = &env.members;
    if !env.complete {
        let there = match verb {
            Verb::Call | Verb::Prompt => members.name.is_some(),
            Verb::Read => members.uri.is_some(),
            Verb::Complete => false,
        };
        if !there {
            return Plan::Whole;
        }
    }
    let failed = |error: &crate::Error| {
        gateway.manager.shared.metrics.error(error.code());
        answer(Answer::failure(id, error))
    };
    let subject = match route::subject(verb.method(), body, members) {
        Ok(Subject::Nothing) | Err(_) if members.open.is_none() => {
            return error(
                200,
                Some(id),
                INVALID_PARAMS,
                "params are missing; send what the method requires",
            );
        }
        Ok(subject) => subject,
        Err(error) => return failed(&error),
    };
    match route::by_subject(&gateway.manager, verb.method(), &subject) {
        Ok(routed) => Plan::Forward(Forward {
            verb,
            id: id.into(),
            who,
            shared: reads::is_read(verb.method())
                && !members
                    .meta
                    .is_some_and(|meta| reads::is_alone(meta.of(body))),
            routed,
            let_in: false,
        }),
        Err(error) => failed(&error),
    }
}

impl Forward {
    /// How it can go, as far as is known without asking.
    pub(crate) fn way(&self) -> Way {
        let Some(routed) = &self.routed else {
            return Way::Call;
        };
        if routed
            .server
            .traffic
            .may_hedge(self.verb.method(), routed.name.as_deref())
        {
            return Way::Call;
        }
        let fleet = routed.server.fleet();
        if fleet.watch.is_some() {
            return Way::Call; // whoever looks on sees only whole answers
        }
        let link = match &fleet.front {
            Some(Link::Http(link)) if !link.is_pipe() => link,
            Some(_) => return Way::Call,
            None => return Way::Unknown,
        };
        let Some(era) = link.era() else {
            return Way::Unknown;
        };
        // What was asked in a client's own session is its own.
        let own = !self.who.is_modern() && era == Era::Legacy && !fleet.current.spec.stateless;
        if self.shared && !own && fleet.candidate.is_none() && reads::is_on(&fleet.current.spec) {
            return Way::Call;
        }
        // Who may be asked in the middle, or chose what is logged, has ids and levels of its own on both sides.
        if self.who.session().is_some_and(|session| session.talks()) {
            return Way::Call;
        }
        match (self.who.is_modern(), era) {
            (true, Era::Legacy) => Way::Call,
            (false, Era::Modern) => Way::Relay { edits_meta: true },
            (false, Era::Legacy) if fleet.current.spec.stateless => {
                // In a session that clients share, their ids would collide.
                match link.shared_session() {
                    Some(session) if session.id.is_some() => Way::Call,
                    _ => Way::Relay { edits_meta: false },
                }
            }
            (true, Era::Modern) | (false, Era::Legacy) => Way::Relay { edits_meta: false },
        }
    }
}
