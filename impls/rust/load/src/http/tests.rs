//! Every message is fed whole, byte by byte, and with trailing data.
use proptest::prelude::*;

use super::*;

struct Seen {
    head: Head,
    body: Vec<u8>,
    used: usize,
}

fn whole(side: Side, bytes: &[u8]) -> Result<Option<Seen>, BadMessage> {
    let mut framer = Framer::new(side, 1 << 20);
    Ok(match framer.advance(bytes)? {
        Progress::Complete(used) => Some(Seen {
            head: framer.head().clone(),
            body: framer.body(&bytes[..used]).to_vec(),
            used,
        }),
        Progress::Partial(_) => None,
    })
}

fn bytewise(side: Side, bytes: &[u8]) -> Result<Option<Seen>, BadMessage> {
    let mut framer = Framer::new(side, 1 << 20);
    for end in 1..=bytes.len() {
        if let Progress::Complete(used) = framer.advance(&bytes[..end])? {
            return Ok(Some(Seen {
                head: framer.head().clone(),
                body: framer.body(&bytes[..used]).to_vec(),
                used,
            }));
        }
    }
    Ok(None)
}

fn every_way(side: Side, bytes: &[u8], body: &[u8]) -> Head {
    let trailing = [bytes, b"HTTP/1.1 trailing"].concat();
    let seen = whole(side, bytes).unwrap().unwrap();
    for other in [
        bytewise(side, bytes),
        whole(side, &trailing),
        bytewise(side, &trailing),
    ] {
        let other = other.unwrap().unwrap();
        assert_eq!(other.head, seen.head);
        assert_eq!(other.body, body);
        assert_eq!(other.used, bytes.len());
    }
    seen.head
}

#[test]
fn a_request_with_a_length_ends_where_it_says() {
    let text = b"POST /mcp HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  5 \r\nMcp-Session-Id: abc\r\nmcp-method: ping\r\n\r\nhello";
    let head = every_way(Side::Request, text, b"hello");
    assert_eq!(&text[head.method], b"POST");
    assert_eq!(&text[head.target], b"/mcp");
    assert_eq!(&text[head.session.unwrap()], b"abc");
    assert_eq!(&text[head.mcp_method.unwrap()], b"ping");
    assert!(!head.close);
}

#[test]
fn a_request_without_framing_has_no_body() {
    assert_eq!(
        every_way(Side::Request, b"GET / HTTP/1.0\r\n\r\n", b"").content_length,
        None
    );
}

#[test]
fn chunks_are_put_together_and_trailers_passed_over() {
    let text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n\
        5\r\nhello\r\n6;x=\"y\"\r\n world\r\n0\r\nTrailer: 1\r\n\r\n";
    let head = every_way(Side::Response, text, b"hello world");
    assert!(head.sse && head.chunked);
    assert_eq!(head.status, 200);
}

#[test]
fn interim_and_bodiless_answers_end_with_their_head() {
    assert_eq!(
        every_way(Side::Response, b"HTTP/1.1 100 Continue\r\n\r\n", b"").status,
        100
    );
    assert_eq!(
        every_way(
            Side::Response,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
            b""
        )
        .status,
        204
    );
}

#[test]
fn an_answer_without_framing_ends_with_the_connection() {
    let text = b"HTTP/1.1 200 OK\r\n\r\nabc";
    let mut framer = Framer::new(Side::Response, 1 << 20);
    assert_eq!(framer.advance(text), Ok(Progress::Partial(None)));
    assert_eq!(framer.closed(text), Some(text.len()));
    assert_eq!(framer.body(text), b"abc");
}

#[test]
fn ambiguous_or_oversized_messages_are_refused() {
    for (text, why) in [
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            BadMessage::Framing,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            BadMessage::Framing,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            BadMessage::Framing,
        ),
        (
            "POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
            BadMessage::BodyTooLarge,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            BadMessage::Framing,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            BadMessage::Framing,
        ),
        (
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
            BadMessage::Framing,
        ),
        ("POST / HTTP/1.1\r\n folded: 1\r\n\r\n", BadMessage::Header),
        ("POST / HTTP/1.1\r\nno colon\r\n\r\n", BadMessage::Header),
        ("POST / HTTP/1.1\nHost: x\n\n", BadMessage::Header),
        ("POST / HTTP/2\r\n\r\n", BadMessage::StartLine),
        ("nonsense\r\n\r\n", BadMessage::StartLine),
    ] {
        assert_eq!(
            whole(Side::Request, text.as_bytes()).err(),
            Some(why),
            "{text}"
        );
    }
    let endless = vec![b'x'; MAX_HEAD + 1];
    assert_eq!(
        whole(Side::Request, &endless).err(),
        Some(BadMessage::HeadTooLarge)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic_and_alike_in_pieces(text in proptest::collection::vec(any::<u8>(), 0..96)) {
        let one = whole(Side::Response, &text).map(|seen| seen.map(|s| (s.body, s.used)));
        let many = bytewise(Side::Response, &text).map(|seen| seen.map(|s| (s.body, s.used)));
        prop_assert_eq!(one, many);
    }

    #[test]
    fn chunking_never_changes_a_body(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8)) {
        let mut text = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in &parts {
            text.extend_from_slice(format!("{:X}\r\n", part.len()).as_bytes());
            text.extend_from_slice(part);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        every_way(Side::Request, &text, &parts.concat());
    }
}
