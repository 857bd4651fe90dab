//! The first look at a head: who may speak (Host and Origin), and to which endpoint.
//!
//! The Host check stops DNS rebinding: a page in a browser can reach a loopback port under a name of its own choosing
//! (2026-07-28 streamable-http, "Security & Endpoint").

use super::answer::Answer;
use crate::config::GatewaySpec;
use crate::translate::MODERN;
use crate::wire::Method;

/// What an admitted request is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint {
    Post,
    Stream,
    Delete,
    Metrics,
    Health,
}

/// The parts of a head that access depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a [u8],
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) origin: Option<&'a [u8]>,
    pub(crate) version: Option<&'a [u8]>,
}

/// The rules of one listening address.
#[derive(Debug)]
pub(crate) struct Access {
    check_host: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Access {
    pub(crate) fn new(spec: &GatewaySpec, loopback: bool) -> Self {
        let lower = |list: &[String]| {
            list.iter()
                .map(|entry| entry.to_ascii_lowercase())
                .collect()
        };
        Self {
            check_host: loopback,
            hosts: lower(&spec.allowed_hosts),
            origins: lower(&spec.allowed_origins),
        }
    }

    pub(crate) fn judge(&self, asked: Asked<'_>) -> Result<Endpoint, Box<Answer>> {
        if let Some(host) = asked.host
            && self.check_host
            && !is_local(host_name(host))
            && !self.is_allowed_host(host)
        {
            return refuse(
                403,
                "this Host is not served here; use localhost, or add it to gateway.allowedHosts",
            );
        }
        if let Some(origin) = asked.origin
            && !self.is_allowed_origin(origin)
        {
            return refuse(
                403,
                "this Origin is not allowed; add it to gateway.allowedOrigins",
            );
        }
        match (asked.path, asked.method) {
            (b"/mcp" | b"/mcp/", Method::Post) => Ok(Endpoint::Post),
            // The modern revision has neither stream nor session (streamable-http, "Earlier Streamable HTTP Revisions").
            (b"/mcp" | b"/mcp/", Method::Get | Method::Delete)
                if asked.version == Some(MODERN.as_bytes()) =>
            {
                not_allowed(
                    "revision 2026-07-28 has neither stream nor session; POST the request",
                    "POST",
                )
            }
            (b"/mcp" | b"/mcp/", Method::Get) => Ok(Endpoint::Stream),
            (b"/mcp" | b"/mcp/", Method::Delete) => Ok(Endpoint::Delete),
            (b"/mcp" | b"/mcp/", Method::Head | Method::Other) => not_allowed(
                "this HTTP method is not supported at /mcp; use POST",
                "POST, GET, DELETE",
            ),
            (b"/metrics", Method::Get | Method::Head) => Ok(Endpoint::Metrics),
            (b"/healthz", Method::Get | Method::Head) => Ok(Endpoint::Health),
            (b"/metrics" | b"/healthz", _) => {
                not_allowed("this page can only be read; use GET", "GET")
            }
            _ => refuse(404, "there is nothing at this path; the endpoint is /mcp"),
        }
    }

    fn is_allowed_host(&self, host: &[u8]) -> bool {
        let full = String::from_utf8_lossy(host).to_ascii_lowercase();
        let name = String::from_utf8_lossy(host_name(host)).to_ascii_lowercase();
        self.hosts.contains(&full) || self.hosts.contains(&name)
    }

    fn is_allowed_origin(&self, origin: &[u8]) -> bool {
        let origin = String::from_utf8_lossy(origin).to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let authority = origin
            .strip_prefix("http://")
            .or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| is_local(host_name(authority.as_bytes())))
    }
}

fn refuse<T>(status: u16, why: &str) -> Result<T, Box<Answer>> {
    Err(Box::new(Answer::refusal(status, why)))
}

fn not_allowed<T>(why: &str, allow: &'static str) -> Result<T, Box<Answer>> {
    Err(Box::new(Answer {
        allow: Some(allow),
        ..Answer::refusal(405, why)
    }))
}

fn is_local(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"localhost") || name == b"127.0.0.1" || name == b"::1"
}

/// `Host` without its port, and without the brackets of IPv6.
fn host_name(host: &[u8]) -> &[u8] {
    if let Some(rest) = host.strip_prefix(b"[") {
        return rest.split(|&byte| byte == b']').next().unwrap_or_default();
    }
    host.split(|&byte| byte == b':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_only_look_local_are_foreign() {
        let access = Access::new(&GatewaySpec::default(), true);
        let status = |host: &[u8], origin: Option<&'static [u8]>| {
            let asked = Asked {
                method: Method::Post,
                path: b"/mcp",
                host: Some(host),
                origin,
                version: None,
            };
            access.judge(asked).map_err(|answer| answer.status)
        };
        for host in [
            &b"localhost:1"[..],
            b"LOCALHOST",
            b"127.0.0.1:80",
            b"[::1]:8080",
        ] {
            assert_eq!(status(host, None), Ok(Endpoint::Post));
        }
        for host in [
            &b"localhost.evil.example"[..],
            b"127.0.0.1.evil",
            b"evil",
            b"",
        ] {
            assert_eq!(status(host, None), Err(403));
        }
        assert_eq!(
            status(b"localhost", Some(b"http://localhost:3000")),
            Ok(Endpoint::Post)
        );
        assert_eq!(status(b"localhost", Some(b"null")), Err(403));
        assert_eq!(
            status(b"localhost", Some(b"http://localhost.evil.example")),
            Err(403)
        );
    }
}
