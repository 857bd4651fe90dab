//! What one server lists, read once and kept until it says that a list changed: which URIs and shortened names are its own.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::annotations::Annotation;
use crate::config::ServerSpec;

/// Servers that never announce changes are asked again after this time.
const FRESH: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) uris: HashSet<String>,
    pub(crate) templates: Vec<String>,
    /// Exposed name -> the server's own, for tools' and prompts' names that had to be shortened.
    pub(crate) short_tools: HashMap<String, String>,
    pub(crate) short_prompts: HashMap<String, String>,
    /// Own tool name -> the arguments that its server wants in headers.
    pub(crate) annotated: HashMap<String, Vec<Annotation>>,
    /// What the lists were filtered by.
    pub(crate) spec: Arc<ServerSpec>,
    pub(crate) read: Instant,
}

impl Index {
    /// What a shortened name stands for in requests of `method`.
    pub(crate) fn own(&self, method: &str, exposed: &str) -> Option<&String> {
        if method == "tools/call" {
            self.short_tools.get(exposed)
        } else {
            self.short_prompts.get(exposed)
        }
    }

    /// True if a listed resource is `uri`, or one of the templates makes it.
    pub(crate) fn holds(&self, uri: &str) -> bool {
        self.uris.contains(uri) || self.templates.iter().any(|template| matches(template, uri))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Catalog {
    index: ArcSwapOption<Index>,
}

impl Catalog {
    /// The index, if it is fresh and of this specification.
    pub(crate) fn get(&self, spec: &Arc<ServerSpec>) -> Option<Arc<Index>> {
        self.index
            .load_full()
            .filter(|index| index.read.elapsed() < FRESH && Arc::ptr_eq(&index.spec, spec))
    }

    pub(crate) fn set(&self, index: Index) -> Arc<Index> {
        let index = Arc::new(index);
        self.index.store(Some(Arc::clone(&index)));
        index
    }

    pub(crate) fn invalidate(&self) {
        self.index.store(None);
    }
}

/// Whether an RFC 6570 template can make `uri`; an expression stands for any text that is not empty.
pub(crate) fn matches(template: &str, uri: &str) -> bool {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else {
            break;
        };
        parts.push(&rest[..open]);
        rest = &rest[open + close + 1..];
    }
    parts.push(rest);
    if parts.len() == 1 {
        return template == uri;
    }
    let Some(mut left) = uri.strip_prefix(parts[0]) else {
        return false;
    };
    for (index, part) in parts[1..].iter().enumerate() {
        let last = index + 2 == parts.len();
        if left.is_empty() {
            return false;
        }
        if last {
            return part.is_empty() || (left.len() > part.len() && left.ends_with(part));
        }
        if part.is_empty() {
            continue;
        }
        let first = left.chars().next().map_or(0, char::len_utf8);
        match left[first..].find(part) {
            Some(at) => left = &left[first + at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_what_they_can_make() {
        assert!(matches("file:///{path}", "file:///a/b"));
        assert!(!matches("file:///{path}", "file:///"));
        assert!(matches("db://{table}/row/{id}", "db://users/row/7"));
        assert!(!matches("db://{table}/row/{id}", "db://users/7"));
        assert!(matches("a://b", "a://b"));
    }
}
