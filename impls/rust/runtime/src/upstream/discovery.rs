//! Which era a server speaks, found out once per process or origin and remembered.
//!
//! Revision 2026-07-28, basic/versioning "Backward Compatibility": ask `server/discover`; a result or a recognised
//! modern error means modern, anything else (or silence, on stdio) means legacy, then `initialize`. The fallback is
//! never keyed to one code.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, RemoteFault, Result};
use crate::info::Era;
use crate::translate::{LEGACY, MODERN, SERVER_INFO_KEY, with_hop};

/// What was agreed with one instance.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) era: Era,
    pub(crate) version: String,
    pub(crate) capabilities: Option<Box<RawValue>>,
    pub(crate) server_name: Option<String>,
    pub(crate) server_version: Option<String>,
    pub(crate) instructions: Option<String>,
}

impl Agreed {
    /// Whether the server said that it can do this.
    pub(crate) fn offers(&self, name: &str) -> bool {
        let raw = self.capabilities.as_ref().map(|raw| raw.get().as_bytes());
        raw.is_some_and(|raw| crate::gateway::asking::declares(raw, name))
    }

    /// Whether the server says that it tells of any change.
    pub(crate) fn announces(&self) -> bool {
        type Declared<'a> = HashMap<Cow<'a, str>, serde_json::Value>;
        let raw = self.capabilities.as_ref();
        let declared = raw.and_then(|raw| serde_json::from_str::<Declared<'_>>(raw.get()).ok());
        declared.is_some_and(|declared| {
            let says =
                |value: &serde_json::Value, key| value.get(key).is_some_and(|said| said == true);
            declared
                .values()
                .any(|value| says(value, "listChanged") || says(value, "subscribe"))
        })
    }
}

/// What the answer to `server/discover` means.
#[derive(Debug)]
pub(crate) enum Verdict {
    Modern(Agreed),
    Legacy,
    /// Modern, but of no revision spoken here.
    Stranger(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Discovered {
    supported_versions: Vec<String>,
    capabilities: Option<Box<RawValue>>,
    instructions: Option<String>,
    server_info: Option<Implementation>,
    #[serde(rename = "_meta")]
    meta: Option<std::collections::HashMap<String, Box<RawValue>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Implementation {
    name: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Initialized {
    protocol_version: String,
    capabilities: Option<Box<RawValue>>,
    instructions: Option<String>,
    server_info: Option<Implementation>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Unsupported {
    supported: Vec<String>,
}

/// `params` of `server/discover`.
pub(crate) fn discover_params() -> Vec<u8> {
    let mut out = b"{\"_meta\":".to_vec();
    // No `_meta` is given, so nothing can be wrong in it.
    out.extend_from_slice(&with_hop(None, b"{}").unwrap_or_default());
    out.push(b'}');
    out
}

/// Reads the answer to `server/discover`.
pub(crate) fn judge(answer: &Result<Bytes, RemoteFault>) -> Verdict {
    match answer {
        Ok(result) => {
            let Ok(found) = serde_json::from_slice::<Discovered>(result) else {
                return Verdict::Legacy;
            };
            if found.supported_versions.is_empty() {
                return Verdict::Legacy; // some servers answer anything with an empty result
            }
            if !found
                .supported_versions
                .iter()
                .any(|version| version == MODERN)
            {
                return offer(&found.supported_versions);
            }
            let info = found.server_info.or_else(|| {
                found
                    .meta
                    .as_ref()
                    .and_then(|meta| serde_json::from_str(meta.get(SERVER_INFO_KEY)?.get()).ok())
            });
            let info = info.unwrap_or_default();
            Verdict::Modern(Agreed {
                era: Era::Modern,
                version: MODERN.to_owned(),
                capabilities: found.capabilities,
                server_name: info.name,
                server_version: info.version,
                instructions: found.instructions,
            })
        }
        Err(fault) if fault.code == -32022 => {
            let data = fault.data.as_deref().unwrap_or(b"{}");
            offer(
                &serde_json::from_slice::<Unsupported>(data)
                    .unwrap_or_default()
                    .supported,
            )
        }
        Err(fault) if matches!(fault.code, -32020 | -32021) => {
            Verdict::Stranger(fault.message.clone())
        }
        Err(_) => Verdict::Legacy,
    }
}

fn offer(versions: &[String]) -> Verdict {
    if versions
        .iter()
        .any(|version| LEGACY.contains(&version.as_str()))
    {
        Verdict::Legacy
    } else {
        Verdict::Stranger(format!("it speaks only {}", versions.join(", ")))
    }
}

/// Reads the result of `initialize`.
pub(crate) fn read_initialize(result: &[u8], server: &str) -> Result<Agreed> {
    let found: Initialized = serde_json::from_slice(result).map_err(|error| Error::ServerStart {
        message: format!("server '{server}' answered initialize with no valid result ({error}); check that it is an MCP server"),
        server: server.to_owned(),
    })?;
    if !LEGACY.contains(&found.protocol_version.as_str()) {
        return Err(Error::ServerStart {
            message: format!(
                "server '{server}' speaks MCP revision '{}', which crossfade does not; update the server",
                found.protocol_version
            ),
            server: server.to_owned(),
        });
    }
    let info = found.server_info.unwrap_or_default();
    Ok(Agreed {
        era: Era::Legacy,
        version: found.protocol_version,
        capabilities: found.capabilities,
        server_name: info.name,
        server_version: info.version,
        instructions: found.instructions,
    })
}

/// Reads an error object of a server, whatever its shape.
pub(crate) fn fault(raw: Bytes) -> RemoteFault {
    #[derive(Deserialize)]
    struct Object {
        code: i64,
        #[serde(default)]
        message: String,
        data: Option<Box<RawValue>>,
    }
    match serde_json::from_slice::<Object>(&raw) {
        Ok(found) => RemoteFault {
            code: found.code,
            message: found.message,
            data: found
                .data
                .map(|data| Bytes::copy_from_slice(data.get().as_bytes())),
            raw,
        },
        Err(_) => RemoteFault {
            code: -32603,
            message: format!(
                "error object without code: {}",
                String::from_utf8_lossy(&raw[..raw.len().min(200)])
            ),
            data: None,
            raw: Bytes::from_static(
                b"{\"code\":-32603,\"message\":\"the server sent an error object without code\"}",
            ),
        },
    }
}
