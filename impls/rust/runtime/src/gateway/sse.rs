//! Server-sent events as they are written to clients, in chunks.
//!
//! The rule: one event is one message on one line of data; line ends between the tokens of a message become spaces.

/// The head of an answer that is a stream of events.
pub(crate) const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n";
/// A comment, which keeps idle streams open.
pub(crate) const BEAT: &[u8] = b"3\r\n:\n\n\r\n";
/// The end of a stream.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

/// Appends the head; the connection closes behind the stream unless `keep_alive`.
pub(crate) fn push_head(out: &mut Vec<u8>, keep_alive: bool) {
    out.extend_from_slice(HEAD);
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one event, as one chunk.
pub(crate) fn push_event(out: &mut Vec<u8>, id: Option<&str>, message: &[u8]) {
    const KIND: &[u8] = b"event: message\n";
    const DATA: &[u8] = b"data: ";
    let id_line = id.map_or(0, |id| "id: \n".len() + id.len());
    let length = KIND.len() + id_line + DATA.len() + message.len() + 2;
    out.reserve(length + 16);
    out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(KIND);
    out.extend_from_slice(DATA);
    push_line(out, message);
    out.extend_from_slice(b"\n\n\r\n");
}

/// Appends a line for people, as one chunk: no reader of events takes it for one.
pub(crate) fn push_comment(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(format!("{:x}\r\n: {text}\n\n\r\n", text.len() + 4).as_bytes());
}

/// Appends a message without the line ends that may stand between its tokens.
pub(crate) fn push_line(out: &mut Vec<u8>, message: &[u8]) {
    let start = out.len();
    out.extend_from_slice(message);
    if memchr::memchr2(b'\n', b'\r', message).is_some() {
        for byte in &mut out[start..] {
            if matches!(*byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Body;
    use crate::wire::body::Chunks;
    use crate::wire::sse::Events;

    #[test]
    fn what_is_written_is_read_again_whatever_line_ends_a_message_holds() {
        let mut wire = Vec::new();
        push_event(&mut wire, Some("a-1"), b"{\"a\":\r\n1}");
        wire.extend_from_slice(BEAT);
        push_comment(&mut wire, "nobody's event");
        push_event(&mut wire, None, b"{}");
        wire.extend_from_slice(END);
        let (mut body, mut events, mut seen) = (
            Body::Chunked(Chunks::default()),
            Events::new(100),
            Vec::new(),
        );
        let used = body.advance(&wire, |part| {
            events
                .feed(part, |data| seen.push(data.to_vec()))
                .expect("short");
        });
        assert_eq!((used, body.is_done()), (Ok(wire.len()), true));
        assert_eq!(seen, [b"{\"a\":  1}".to_vec(), b"{}".to_vec()]);
    }
}
