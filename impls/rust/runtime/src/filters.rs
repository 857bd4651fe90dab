//! What of a server is shown and under which name; the mirror of `crossfade.impls.filters`, where the rules stand.
//!
//! The rule: an alias wins, what is not shown leads nowhere, and a list whose names would mislead is an error.

use std::collections::{BTreeMap, HashMap};

use crate::config::{NameFilter, ServerSpec};

/// What one token of a pattern matches.
#[derive(Debug)]
enum Token {
    Star,
    One {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// One pattern. Matching takes time proportional to pattern times name at worst.
#[derive(Debug)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some(char) = rest.chars().next() {
            rest = &rest[char.len_utf8()..];
            let set = if char == '[' { brackets(rest) } else { None };
            match (char, set) {
                ('*', _) => {
                    if !matches!(tokens.last(), Some(Token::Star)) {
                        tokens.push(Token::Star);
                    }
                }
                ('?', _) => tokens.push(Token::One {
                    negated: true,
                    ranges: Vec::new(),
                }),
                (_, Some((negated, members))) => {
                    rest = &rest[usize::from(negated) + members.len() + 1..];
                    let ranges = ranges(members);
                    tokens.push(Token::One { negated, ranges });
                }
                _ => tokens.push(Token::One {
                    negated: false,
                    ranges: vec![(char, char)],
                }),
            }
        }
        Self { tokens }
    }

    /// Whether all of `name` is what the pattern says.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut rest = name;
        let mut token = 0;
        let mut star: Option<(usize, &str)> = None;
        while let Some(char) = rest.chars().next() {
            let next = &rest[char.len_utf8()..];
            match self.tokens.get(token) {
                Some(Token::Star) => {
                    star = Some((token, rest));
                    token += 1;
                    continue;
                }
                Some(Token::One { negated, ranges })
                    if ranges
                        .iter()
                        .any(|(low, high)| (*low..=*high).contains(&char))
                        != *negated =>
                {
                    token += 1;
                    rest = next;
                    continue;
                }
                _ => {}
            }
            // The last star takes one more; an earlier one never has to.
            let Some((at, resume)) = star else {
                return false;
            };
            let step = resume.chars().next().map_or(0, char::len_utf8);
            rest = &resume[step..];
            star = Some((at, rest));
            token = at + 1;
        }
        self.tokens[token..]
            .iter()
            .all(|token| matches!(token, Token::Star))
    }
}

/// What stands behind a `[`: whether it negates, and its members; `None` without a `]`.
fn brackets(rest: &str) -> Option<(bool, &str)> {
    let negated = rest.starts_with('!');
    let inside = &rest[usize::from(negated)..];
    let first = inside.chars().next()?.len_utf8();
    let end = first + inside[first..].find(']')?;
    Some((negated, &inside[..end]))
}

fn ranges(members: &str) -> Vec<(char, char)> {
    let members: Vec<char> = members.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < members.len() {
        let wide = members.get(at + 1) == Some(&'-') && at + 2 < members.len();
        let step = if wide { 3 } else { 1 };
        found.push((members[at], members[at + step - 1]));
        at += step;
    }
    found
}

/// Several patterns, of which one is enough; none matches nothing.
#[derive(Debug, Default)]
pub(crate) struct Globs(Box<[Glob]>);

impl Globs {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| Glob::new(pattern)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn any(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(name))
    }
}

/// What one specification shows of a server.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) tools: Filter,
    pub(crate) prompts: Filter,
    pub(crate) resources: Filter,
}

impl Shown {
    pub(crate) fn new(spec: &ServerSpec) -> Self {
        Self {
            tools: Filter::new(&spec.tools),
            prompts: Filter::new(&spec.prompts),
            resources: Filter::new(&spec.resources),
        }
    }

    /// The filter of the names that requests of `method` hold.
    pub(crate) fn of_method(&self, method: &str) -> &Filter {
        if method == "tools/call" {
            &self.tools
        } else {
            &self.prompts
        }
    }
}

/// A [`NameFilter`], ready to be asked. The default one shows everything as it is.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    allow: Vec<Glob>,
    deny: Vec<Glob>,
    alias: BTreeMap<String, String>,
    owns: HashMap<String, String>,
}

impl Filter {
    pub(crate) fn new(spec: &NameFilter) -> Self {
        let globs =
            |patterns: &[String]| patterns.iter().map(|pattern| Glob::new(pattern)).collect();
        let mut filter = Self {
            allow: globs(&spec.allow),
            deny: globs(&spec.deny),
            alias: spec.alias.clone(),
            owns: HashMap::new(),
        };
        filter.owns = spec
            .alias
            .iter()
            .filter(|(own, _)| filter.shows(own))
            .map(|(own, shown)| (shown.clone(), own.clone()))
            .collect();
        filter
    }

    /// Whether the server's own name (or URI) is shown at all.
    pub(crate) fn shows(&self, own: &str) -> bool {
        let allowed = self.allow.is_empty() || self.allow.iter().any(|glob| glob.matches(own));
        allowed && !self.deny.iter().any(|glob| glob.matches(own))
    }

    /// The name behind the prefix, if there is one.
    pub(crate) fn shown<'a>(&'a self, own: &'a str) -> Option<&'a str> {
        self.shows(own)
            .then(|| self.alias.get(own).map_or(own, String::as_str))
    }

    /// What a name behind the prefix stands for, if anything is shown under it.
    pub(crate) fn own<'a>(&'a self, shown: &'a str) -> Option<&'a str> {
        if let Some(own) = self.owns.get(shown) {
            return Some(own);
        }
        (!self.alias.contains_key(shown) && self.shows(shown)).then_some(shown)
    }

    /// The own name that would be called in place of `own`, because its alias is the name of this one.
    pub(crate) fn clash<'a>(&'a self, own: &'a str) -> Option<&'a str> {
        self.own(self.shown(own)?).filter(|other| *other != own)
    }
}
