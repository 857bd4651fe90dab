//! Which server a request is for, and what its params must say there.
//!
//! The rule: a name tells its server by itself; only URIs and shortened names need the servers' lists. What a server's
//! filters hide leads nowhere, whoever asks and however.

use std::borrow::Cow;
use std::sync::Arc;

use crate::envelope::{self, Params, Span};
use crate::error::{Error, Result};
use crate::listing;
use crate::manager::{Inner, Target};
use crate::names;
use crate::translate::{self, Edit};
use crate::upstream::Server;

/// A server, and how `params` must change for it.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) server: Arc<Server>,
    /// The server's own name (or the URI), for headers.
    pub(crate) name: Option<String>,
    /// The name in `params`, if it must change.
    pub(crate) edit: Option<Edit<'static>>,
}

/// What `params` name, and where.
#[derive(Debug)]
pub(crate) enum Subject<'a> {
    Name(Cow<'a, str>, Span),
    Uri(Cow<'a, str>),
    Nothing,
}

/// Reads the subject of a request from scanned params. Spans count from where `found` counts from.
pub(crate) fn subject<'a>(method: &str, input: &'a [u8], found: &Params) -> Result<Subject<'a>> {
    let text = |span: Option<Span>, what: &str| -> Result<Option<Cow<'a, str>>> {
        span.map(|span| {
            envelope::text(span.of(input)).ok_or_else(|| bad(&format!("{what} must be a string")))
        })
        .transpose()
    };
    match method {
        "tools/call" | "prompts/get" => match (text(found.name, "params.name")?, found.name) {
            (Some(name), Some(at)) => Ok(Subject::Name(name, at)),
            _ => Err(bad("params.name is missing")),
        },
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            text(found.uri, "params.uri")?
                .map(Subject::Uri)
                .ok_or_else(|| bad("params.uri is missing"))
        }
        "completion/complete" => {
            let at = found
                .reference
                .ok_or_else(|| bad("params.ref is missing"))?;
            let inner = envelope::scan_params(at.of(input))
                .map_err(|_| bad("params.ref must be an object"))?;
            let shift = |span: Option<Span>| span.map(|span| span.shift(at.start));
            match (shift(inner.name), shift(inner.uri)) {
                (Some(name), _) => text(Some(name), "params.ref.name")?
                    .map(|value| Subject::Name(value, name))
                    .ok_or_else(|| bad("params.ref.name is missing")),
                (None, uri) => text(uri, "params.ref.uri")?
                    .map(Subject::Uri)
                    .ok_or_else(|| bad("params.ref has neither name nor uri")),
            }
        }
        _ => Ok(Subject::Nothing),
    }
}

fn bad(what: &str) -> Error {
    Error::UnknownTarget {
        message: format!("{what}; send what the method requires"),
        server: None,
    }
}

fn unknown(what: &str) -> Error {
    Error::UnknownTarget {
        message: format!(
            "no server offers '{what}'; list what there is, names look like server__name"
        ),
        server: None,
    }
}

/// Routes what can be routed without asking a server; `None` means [`search`].
pub(crate) fn quick(
    manager: &Inner,
    method: &str,
    target: &Target,
    params: &[u8],
) -> Result<Option<Routed>> {
    let params: &[u8] = if params.is_empty() { b"{}" } else { params };
    let found = envelope::scan_params(params).map_err(|_| bad("params must be a JSON object"))?;
    let subject = match (subject(method, params, &found), target) {
        (Ok(subject), _) => subject,
        (Err(error), Target::Auto) => return Err(error),
        (Err(_), Target::Server(_)) => Subject::Nothing, // its server will say what is missing
    };
    if let Target::Server(name) = target {
        let server = manager.registry.get(name)?;
        let (name, edit) = match &subject {
            Subject::Name(exposed, at) => {
                let bare = match names::split(exposed) {
                    _ if manager.gateway.prefix && names::is_shortened(exposed) => return Ok(None),
                    Some((prefix, bare)) if manager.gateway.prefix && prefix == server.name() => {
                        bare
                    }
                    _ => exposed,
                };
                let own = own_name(&server, method, bare, exposed)?;
                let edit = (own != *exposed).then(|| rename(*at, &own));
                (Some(own), edit)
            }
            Subject::Uri(uri) => {
                shows(&server, uri)?;
                (Some(uri.to_string()), None)
            }
            Subject::Nothing => (None, None),
        };
        return Ok(Some(Routed {
            server,
            name: header_name(method, name),
            edit,
        }));
    }
    by_subject(manager, method, &subject)
}

/// Only three methods repeat their subject in a header (streamable-http, "Standard Request Headers").
fn header_name(method: &str, name: Option<String>) -> Option<String> {
    name.filter(|_| matches!(method, "tools/call" | "prompts/get" | "resources/read"))
}

/// Routes by subject without asking a server.
pub(crate) fn by_subject(
    manager: &Inner,
    method: &str,
    subject: &Subject<'_>,
) -> Result<Option<Routed>> {
    let snapshot = manager.registry.load();
    match subject {
        Subject::Name(exposed, at) => {
            if !manager.gateway.prefix {
                let server = snapshot.only().cloned().ok_or_else(|| unknown(exposed))?;
                let own = own_name(&server, method, exposed, exposed)?;
                return Ok(Some(Routed {
                    server,
                    edit: (own != *exposed).then(|| rename(*at, &own)),
                    name: header_name(method, Some(own)),
                }));
            }
            if names::is_shortened(exposed) {
                return Ok(None);
            }
            let (server, bare) = names::split(exposed).ok_or_else(|| unknown(exposed))?;
            let server = snapshot
                .get(server)
                .cloned()
                .ok_or_else(|| unknown(exposed))?;
            let own = own_name(&server, method, bare, exposed)?;
            Ok(Some(Routed {
                server,
                edit: Some(rename(*at, &own)),
                name: header_name(method, Some(own)),
            }))
        }
        Subject::Uri(uri) => match snapshot.servers.as_slice() {
            [] => Err(unknown(uri)),
            [only] => {
                shows(only, uri)?;
                let name = header_name(method, Some(uri.to_string()));
                Ok(Some(Routed {
                    server: Arc::clone(only),
                    name,
                    edit: None,
                }))
            }
            _ => Ok(None),
        },
        Subject::Nothing => {
            let why = format!("'{method}' names no tool, prompt or resource");
            Err(bad(&why))
        }
    }
}

/// Routes what only the servers' lists can tell.
pub(crate) async fn search(
    manager: &Inner,
    method: &str,
    target: &Target,
    params: &[u8],
) -> Result<Routed> {
    let found = envelope::scan_params(params).map_err(|_| bad("params must be a JSON object"))?;
    let candidates = match target {
        Target::Auto => manager.registry.load().servers.clone(),
        Target::Server(name) => vec![manager.registry.get(name)?],
    };
    search_subject(
        manager,
        method,
        &subject(method, params, &found)?,
        &candidates,
    )
    .await
}

pub(crate) async fn search_subject(
    manager: &Inner,
    method: &str,
    subject: &Subject<'_>,
    candidates: &[Arc<Server>],
) -> Result<Routed> {
    let prefix = manager.gateway.prefix;
    // A list that was kept may be older than the name: the second round reads it anew.
    for fresh in [false, true] {
        for server in candidates {
            if fresh {
                server.catalog.invalidate();
            }
            let index = match subject {
                Subject::Name(exposed, _)
                    if names::split(exposed).is_none_or(|(name, _)| name != server.name()) =>
                {
                    continue;
                }
                _ => listing::index(server, prefix).await,
            };
            match subject {
                Subject::Name(exposed, at) => {
                    let own = match index.own(method, exposed) {
                        Some(own) => own.to_owned(),
                        // It only looks shortened.
                        None if fresh => {
                            let bare = names::split(exposed).map_or("", |(_, bare)| bare);
                            own_name(server, method, bare, exposed)?
                        }
                        None => continue,
                    };
                    return Ok(Routed {
                        server: Arc::clone(server),
                        edit: Some(rename(*at, &own)),
                        name: header_name(method, Some(own)),
                    });
                }
                Subject::Uri(uri) if index.holds(uri) && shows(server, uri).is_ok() => {
                    return Ok(Routed {
                        server: Arc::clone(server),
                        name: header_name(method, Some(uri.to_string())),
                        edit: None,
                    });
                }
                _ => {}
            }
        }
    }
    Err(match subject {
        Subject::Name(what, _) | Subject::Uri(what) => unknown(what),
        Subject::Nothing => bad("the request names nothing"),
    })
}

/// What `bare`, the name behind the prefix, stands for at its server.
fn own_name(server: &Server, method: &str, bare: &str, exposed: &str) -> Result<String> {
    let fleet = server.fleet();
    let filter = fleet.current.shown.of_method(method);
    filter
        .own(bare)
        .map(str::to_owned)
        .ok_or_else(|| Error::UnknownTarget {
            message: format!(
                "server '{}' offers nothing called '{exposed}'; list what there is",
                server.name()
            ),
            server: Some(server.name().to_owned()),
        })
}

/// Whether a server shows `uri` at all.
fn shows(server: &Server, uri: &str) -> Result<()> {
    if server.fleet().current.shown.resources.shows(uri) {
        Ok(())
    } else {
        Err(unknown(uri))
    }
}

fn rename(at: Span, own: &str) -> Edit<'static> {
    let mut token = Vec::with_capacity(own.len() + 2);
    translate::push_json_string(&mut token, own);
    Edit {
        at,
        with: token.into(),
    }
}
