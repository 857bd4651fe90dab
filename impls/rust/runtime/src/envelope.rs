//! The JSON-RPC envelope as byte ranges: where method, id, name and `_meta` are, without building a value.
//!
//! The rule: what was scanned is strictly valid JSON, what was not reached is untouched. The scanner takes a prefix; when
//! input ends before the object does, [`Envelope::complete`] is false and every field found so far is usable. A key
//! that routing looks at must not appear twice (upstream could read the other one): that is [`Fault::Duplicate`].

/// A byte range of the scanned input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn of<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        &input[self.start..self.end]
    }

    pub(crate) fn shift(self, by: usize) -> Self {
        Self {
            start: self.start + by,
            end: self.end + by,
        }
    }
}

/// Where the parts of one message are. Values are whole tokens: strings with their quotes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) complete: bool,
    pub(crate) jsonrpc: Option<Span>,
    pub(crate) id: Option<Span>,
    pub(crate) method: Option<Span>,
    pub(crate) result: Option<Span>,
    pub(crate) error: Option<Span>,
    pub(crate) params: Option<Span>,
    pub(crate) members: Params,
}

/// The members of `params` that routing looks at. `open` is the offset after `{`, once it was seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Params {
    pub(crate) open: Option<usize>,
    pub(crate) complete: bool,
    pub(crate) empty: bool,
    pub(crate) name: Option<Span>,
    pub(crate) uri: Option<Span>,
    pub(crate) reference: Option<Span>,
    pub(crate) meta: Option<Span>,
    pub(crate) request_id: Option<Span>,
}

/// Why input is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Not JSON from this offset on.
    Syntax(usize),
    /// A key that routing looks at appears twice.
    Duplicate(&'static str),
    /// Valid JSON so far, but no object.
    NotAnObject,
}

const MAX_DEPTH: usize = 512;

enum Stop {
    End,
    Fault(Fault),
}

/// Scans a message, or its beginning.
pub(crate) fn scan(input: &[u8]) -> Result<Envelope, Fault> {
    let mut envelope = Envelope::default();
    let mut cursor = Cursor { input, at: 0 };
    match cursor.message(&mut envelope) {
        Ok(()) => {
            envelope.complete = true;
            Ok(envelope)
        }
        Err(Stop::End) => Ok(envelope),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Scans a `params` object that stands alone.
pub(crate) fn scan_params(input: &[u8]) -> Result<Params, Fault> {
    let mut params = Params::default();
    let mut cursor = Cursor { input, at: 0 };
    match cursor.lone(|cursor| cursor.params(&mut params)) {
        Ok(()) => Ok(params),
        Err(Stop::End) => Err(Fault::Syntax(input.len())),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Walks the members of a complete object: `visit(key token, value span)`.
pub(crate) fn members(input: &[u8], mut visit: impl FnMut(&[u8], Span)) -> Result<(), Fault> {
    let mut cursor = Cursor { input, at: 0 };
    whole(
        &cursor.lone(|cursor| {
            cursor.object(|cursor, key| {
                let value = cursor.value()?;
                visit(key.of(input), value);
                Ok(())
            })
        }),
        input,
    )
}

/// Walks the elements of a complete array.
pub(crate) fn elements(input: &[u8], mut visit: impl FnMut(Span)) -> Result<(), Fault> {
    let mut cursor = Cursor { input, at: 0 };
    whole(
        &cursor.lone(|cursor| {
            cursor.expect(b'[')?;
            if cursor.peek()? == b']' {
                cursor.at += 1;
                return Ok(());
            }
            loop {
                visit(cursor.value()?);
                match cursor.peek()? {
                    b',' => cursor.at += 1,
                    b']' => {
                        cursor.at += 1;
                        return Ok(());
                    }
                    _ => return cursor.bad(),
                }
            }
        }),
        input,
    )
}

fn whole(outcome: &Result<(), Stop>, input: &[u8]) -> Result<(), Fault> {
    match *outcome {
        Ok(()) => Ok(()),
        Err(Stop::End) => Err(Fault::Syntax(input.len())),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// The text of a string token; borrowed unless it holds escapes.
pub(crate) fn text(token: &[u8]) -> Option<std::borrow::Cow<'_, str>> {
    let inner = token.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner)
            .ok()
            .map(std::borrow::Cow::Borrowed);
    }
    serde_json::from_slice::<String>(token)
        .ok()
        .map(std::borrow::Cow::Owned)
}

/// A request's id is a string or an integer.
pub(crate) fn is_id(token: &[u8]) -> bool {
    match token.first() {
        Some(b'"') => true,
        Some(b'-' | b'0'..=b'9') => !token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')),
        _ => false,
    }
}

/// A key as it would be written without escapes: upstream reads `"na\u006de"` as `name`, so it counts as that here.
fn plain_key(token: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match memchr::memchr(b'\\', token).and_then(|_| text(token)) {
        Some(plain) => format!("\"{plain}\"").into_bytes().into(),
        None => token.into(),
    }
}

struct Cursor<'a> {
    input: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn message(&mut self, out: &mut Envelope) -> Result<(), Stop> {
        let input = self.input;
        match self.peek()? {
            b'{' => {}
            b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                return Err(Stop::Fault(Fault::NotAnObject));
            }
            _ => return self.bad(),
        }
        self.lone(|cursor| {
            cursor.object(|cursor, key| {
                let (slot, name): (&mut Option<Span>, _) = match &*plain_key(key.of(input)) {
                    b"\"jsonrpc\"" => (&mut out.jsonrpc, "jsonrpc"),
                    b"\"id\"" => (&mut out.id, "id"),
                    b"\"method\"" => (&mut out.method, "method"),
                    b"\"result\"" => (&mut out.result, "result"),
                    b"\"error\"" => (&mut out.error, "error"),
                    b"\"params\"" => {
                        if out.members.open.is_some() || out.params.is_some() {
                            return Err(Stop::Fault(Fault::Duplicate("params")));
                        }
                        let value = if cursor.peek()? == b'{' {
                            let start = cursor.at;
                            cursor.params(&mut out.members)?;
                            Span {
                                start,
                                end: cursor.at,
                            }
                        } else {
                            cursor.value()?
                        };
                        out.params = Some(value);
                        return Ok(());
                    }
                    _ => {
                        cursor.value()?;
                        return Ok(());
                    }
                };
                if slot.is_some() {
                    return Err(Stop::Fault(Fault::Duplicate(name)));
                }
                *slot = Some(cursor.value()?);
                Ok(())
            })
        })
    }

    fn params(&mut self, out: &mut Params) -> Result<(), Stop> {
        let input = self.input;
        if self.peek()? != b'{' {
            return Err(Stop::Fault(Fault::NotAnObject));
        }
        out.open = Some(self.at + 1);
        out.empty = true;
        self.object(|cursor, key| {
            out.empty = false;
            let (slot, name): (&mut Option<Span>, _) = match &*plain_key(key.of(input)) {
                b"\"name\"" => (&mut out.name, "params.name"),
                b"\"uri\"" => (&mut out.uri, "params.uri"),
                b"\"ref\"" => (&mut out.reference, "params.ref"),
                b"\"_meta\"" => (&mut out.meta, "params._meta"),
                b"\"requestId\"" => (&mut out.request_id, "params.requestId"),
                _ => {
                    cursor.value()?;
                    return Ok(());
                }
            };
            if slot.is_some() {
                return Err(Stop::Fault(Fault::Duplicate(name)));
            }
            *slot = Some(cursor.value()?);
            Ok(())
        })?;
        out.complete = true;
        Ok(())
    }

    /// Runs `read`, then insists that only white space follows.
    fn lone(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        read(self)?;
        match self.peek() {
            Err(Stop::End) => Ok(()),
            Err(fault) => Err(fault),
            Ok(_) => self.bad(),
        }
    }

    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.expect(b':')?;
            member(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return self.bad(),
            }
        }
    }

    /// Skips white space and looks at the next byte.
    fn peek(&mut self) -> Result<u8, Stop> {
        while let Some(&byte) = self.input.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                other => return Ok(other),
            }
        }
        Err(Stop::End)
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            self.bad()
        }
    }

    fn bad<T>(&self) -> Result<T, Stop> {
        Err(Stop::Fault(Fault::Syntax(self.at)))
    }

    /// Any value, checked, without recursion.
    fn value(&mut self) -> Result<Span, Stop> {
        let first = self.peek()?;
        let start = self.at;
        if first == b'{' || first == b'[' {
            self.nested()?;
        } else {
            self.scalar(first)?;
        }
        Ok(Span {
            start,
            end: self.at,
        })
    }

    fn scalar(&mut self, first: u8) -> Result<(), Stop> {
        match first {
            b'"' => self.string().map(|_| ()),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.bad(),
        }
    }

    fn nested(&mut self) -> Result<(), Stop> {
        let mut objects = [0u64; MAX_DEPTH / 64];
        let mut depth = 0usize;
        // Each turn starts where a value is due.
        loop {
            let byte = self.peek()?;
            let mut opened = false;
            if byte == b'{' || byte == b'[' {
                if depth == MAX_DEPTH {
                    return self.bad();
                }
                let bit = 1u64 << (depth % 64);
                if byte == b'{' {
                    objects[depth / 64] |= bit;
                } else {
                    objects[depth / 64] &= !bit;
                }
                depth += 1;
                self.at += 1;
                opened = true;
            } else {
                self.scalar(byte)?;
            }
            // After a value (or an opening): close what ends here, then step to the next value.
            loop {
                let in_object =
                    depth > 0 && objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1 == 1;
                let byte = self.peek()?;
                let close = if in_object { b'}' } else { b']' };
                if byte == close {
                    self.at += 1;
                    depth -= 1;
                    opened = false;
                    if depth == 0 {
                        return Ok(());
                    }
                    continue;
                }
                if !opened {
                    if byte != b',' {
                        return self.bad();
                    }
                    self.at += 1;
                }
                if in_object {
                    self.peek()?;
                    self.string()?;
                    self.expect(b':')?;
                }
                break;
            }
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Stop> {
        let rest = &self.input[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(())
        } else if word.starts_with(rest) {
            Err(Stop::End)
        } else {
            self.bad()
        }
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.input[self.at] == b'-' {
            self.at += 1;
        }
        match self.byte()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return self.bad(),
        }
        if self.byte()? == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte()?, b'e' | b'E') {
            self.at += 1;
            if matches!(self.byte()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        if !self.byte()?.is_ascii_digit() {
            return self.bad();
        }
        while self.byte()?.is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn byte(&self) -> Result<u8, Stop> {
        self.input.get(self.at).copied().ok_or(Stop::End)
    }

    fn string(&mut self) -> Result<Span, Stop> {
        let start = self.at;
        if self.input[start] != b'"' {
            return self.bad();
        }
        self.at += 1;
        let mut plain = true;
        loop {
            let run = plain_run(&self.input[self.at..], &mut plain);
            self.at += run;
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    break;
                }
                b'\\' => self.escape()?,
                _ => return self.bad(),
            }
        }
        let span = Span {
            start,
            end: self.at,
        };
        if !plain && std::str::from_utf8(span.of(self.input)).is_err() {
            return Err(Stop::Fault(Fault::Syntax(start)));
        }
        Ok(span)
    }

    fn escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.byte()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte()?.is_ascii_hexdigit() {
                        return self.bad();
                    }
                    self.at += 1;
                }
            }
            _ => return self.bad(),
        }
        Ok(())
    }
}

/// Length of the run without quote, backslash and control bytes; clears `plain` if it holds non-ASCII.
fn plain_run(input: &[u8], plain: &mut bool) -> usize {
    const SHORT: usize = 16;
    let special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    for (at, &byte) in input.iter().take(SHORT).enumerate() {
        if special(byte) {
            return at;
        }
        *plain &= byte < 0x80;
    }
    if input.len() <= SHORT {
        return input.len();
    }
    // Three passes that each run at memory speed whatever the optimiser makes of them; one clever loop does not.
    let run = &input
        [..memchr::memchr2(b'"', b'\\', &input[SHORT..]).map_or(input.len(), |at| at + SHORT)];
    *plain &= run.is_ascii();
    if run
        .iter()
        .fold(0, |control, &byte| control | u8::from(byte < 0x20))
        != 0
    {
        return run
            .iter()
            .position(|&byte| byte < 0x20)
            .unwrap_or(run.len());
    }
    run.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    const CALL: &[u8] = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a__b","arguments":{"x":[1,{"y":"\u00e9\"}"}]},"_meta":{"k":1}}}"#;

    fn at(input: &[u8], span: Option<Span>) -> &str {
        std::str::from_utf8(span.expect("found").of(input)).expect("utf-8")
    }

    #[test]
    fn every_part_is_found_in_any_order_of_keys() {
        let other = br#" {"params" : {"_meta":{"k":1},"name":"a__b"} , "id":"x", "method":"tools/call","jsonrpc":"2.0"} "#;
        for (input, id) in [(CALL, "7"), (&other[..], "\"x\"")] {
            let envelope = scan(input).expect("valid");
            assert!(envelope.complete && envelope.members.complete);
            assert_eq!(at(input, envelope.id), id);
            assert_eq!(at(input, envelope.method), "\"tools/call\"");
            assert_eq!(at(input, envelope.members.name), "\"a__b\"");
            assert_eq!(at(input, envelope.members.meta), "{\"k\":1}");
        }
    }

    #[test]
    fn every_prefix_is_incomplete_and_never_wrong() {
        let full = scan(CALL).expect("valid");
        for end in 0..CALL.len() {
            let part = scan(&CALL[..end]).expect("a prefix of valid JSON is no fault");
            assert!(!part.complete);
            for (some, all) in [
                (part.id, full.id),
                (part.method, full.method),
                (part.members.name, full.members.name),
            ] {
                assert!(some.is_none() || some == all);
            }
        }
    }

    #[test]
    fn duplicates_also_disguised_and_broken_json_are_refused() {
        for input in [
            &br#"{"id":1,"id":2}"#[..],
            br#"{"method":"a","params":{"name":"x","name":"y"}}"#,
            br#"{"method":"a","params":{"n\u0061me":"x","name":"y"}}"#,
            br#"{"a":01}"#,
            br#"{"a":[1,]}"#,
            br#"{"a":{,}}"#,
            b"{\"a\":\"\x01\"}",
            b"{\"a\":\"\xff\"}",
            br#"{"a":1}}"#,
            br#"{"a":tru1}"#,
            b"[1]",
            b"nope",
        ] {
            assert!(scan(input).is_err(), "{}", String::from_utf8_lossy(input));
        }
        let deep = [b"{\"a\":".as_slice(), &b"[".repeat(600)].concat();
        assert!(scan(&deep).is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
            ".{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\é]{0,8}", inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn spans_hold_what_serde_json_reads(id in any::<i64>(), name in ".{0,20}", meta in json(), arguments in json(), pretty: bool) {
            let message = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
                "params": {"arguments": arguments, "name": name, "_meta": meta}});
            let raw = if pretty { serde_json::to_vec_pretty(&message) } else { serde_json::to_vec(&message) }.expect("json");
            let envelope = scan(&raw).expect("valid");
            let read = |span: Option<Span>| serde_json::from_slice::<Value>(span.expect("found").of(&raw)).expect("json");
            prop_assert!(envelope.complete);
            prop_assert_eq!(read(envelope.id), Value::from(id));
            prop_assert_eq!(read(envelope.members.name), Value::from(name));
            prop_assert_eq!(read(envelope.members.meta), meta);
            prop_assert_eq!(read(envelope.params), message["params"].clone());
        }

        #[test]
        fn acceptance_equals_serde_json_on_damaged_input(value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut raw = serde_json::to_vec(&serde_json::json!({"k": value})).expect("json");
            let at = at.index(raw.len());
            raw[at] = byte;
            let ours = members(&raw, |_, _| {}).is_ok();
            let theirs = serde_json::from_slice::<serde::de::IgnoredAny>(&raw).is_ok();
            // serde_json's IgnoredAny skips numbers and strings loosely in places; ours must never accept more.
            prop_assert!(!ours || theirs);
            if serde_json::from_slice::<Value>(&raw).is_ok_and(|v| v.is_object()) {
                prop_assert!(ours);
            }
        }
    }
}
