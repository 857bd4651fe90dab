//! Globs over names, compiled once: the rules stand at the top of `crossfade.impls.filters`.
//!
//! The rule: matching takes time proportional to pattern times name at worst, whatever they hold.

/// Something that one code point of a name must be; a star stands for any number of them.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Token {
    Star,
    One {
        negated: bool,
        /// Both ends belong to it; one that runs backwards holds nothing.
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    fn holds(&self, found: char) -> bool {
        match self {
            Self::Star => false,
            Self::One { negated, ranges } => {
                ranges
                    .iter()
                    .any(|&(low, high)| (low..=high).contains(&found))
                    != *negated
            }
        }
    }
}

/// One pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Glob {
    tokens: Box<[Token]>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let chars: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            let char = chars[at];
            at += 1;
            tokens.push(match (char, closing(&chars, at)) {
                ('*', _) if tokens.last() == Some(&Token::Star) => continue,
                ('*', _) => Token::Star,
                ('?', _) => Token::One {
                    negated: true,
                    ranges: Vec::new(),
                },
                ('[', Some(end)) => {
                    let negated = chars[at] == '!';
                    let members = &chars[at + usize::from(negated)..end];
                    at = end + 1;
                    Token::One {
                        negated,
                        ranges: ranges(members),
                    }
                }
                (literal, _) => Token::One {
                    negated: false,
                    ranges: vec![(literal, literal)],
                },
            });
        }
        Self {
            tokens: tokens.into(),
        }
    }

    /// Whether all of `name` is what the pattern says.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let tokens = &*self.tokens;
        let mut rest = name.chars();
        let mut token = 0;
        // Behind the last star, and what it has not taken yet: an earlier one never has to take more.
        let mut again: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let Some(char) = rest.next() else { break };
            if tokens.get(token) == Some(&Token::Star) {
                token += 1;
                again = Some((token, here.clone()));
                rest = here;
            } else if tokens.get(token).is_some_and(|token| token.holds(char)) {
                token += 1;
            } else if let Some((behind, left)) = &mut again {
                left.next();
                token = *behind;
                rest = left.clone();
            } else {
                return false;
            }
        }
        tokens[token..].iter().all(|left| *left == Token::Star)
    }
}

/// Where the bracket ends whose members begin at `at`; one that stands first is a member.
fn closing(chars: &[char], at: usize) -> Option<usize> {
    let from = at + 1 + usize::from(chars.get(at) == Some(&'!'));
    let found = chars.get(from..)?.iter().position(|&char| char == ']')?;
    Some(from + found)
}

fn ranges(members: &[char]) -> Vec<(char, char)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < members.len() {
        let step = if members.get(at + 1) == Some(&'-') && at + 2 < members.len() {
            3
        } else {
            1
        };
        found.push((members[at], members[at + step - 1]));
        at += step;
    }
    found
}

/// Several patterns, of which one is enough.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globs(Box<[Glob]>);

impl Globs {
    pub(crate) fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| Glob::new(pattern)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// False if there is none.
    pub(crate) fn any(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_compared_with_the_whole_name() {
        let cases = [
            ("echo", "echo", true),
            ("echo", "echo2", false),
            ("Echo", "echo", false),
            ("*", "", true),
            ("a*b*c", "aXbbYc", true),
            ("a*b*c", "aXbbY", false),
            ("?x", "éx", true),
            ("[a-c]?", "bé", true),
            ("[!a-c]", "b", false),
            ("[]]", "]", true),
            ("[!]]", "]", false),
            ("[c-a]", "b", false),
            ("[a-", "[a-", true),
            ("[*]", "*", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                Glob::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_make_it_slow() {
        let name = "a".repeat(5_000);
        assert!(!Glob::new(&"*a".repeat(100)).matches(&format!("{name}b")));
    }
}
