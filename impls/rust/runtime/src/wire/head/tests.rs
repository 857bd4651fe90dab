//! Heads that two parsers could read differently, and those that are read.

use super::*;

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    for (head, status) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            501,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nMcp-Name: x\r\nmcp-name: y\r\n\r\n",
            400,
        ),
    ] {
        assert_eq!(
            request(head.as_bytes()).map(|_| ()).map_err(|f| f.status),
            Err(status),
            "{head}"
        );
    }
}

#[test]
fn a_head_is_none_until_its_last_byte() {
    let head =
        b"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nMcp-Param-Region: eu\r\n\r\n";
    for end in 0..head.len() {
        assert!(request(&head[..end]).expect("no fault").is_none());
    }
    let (parsed, len) = request(head).expect("no fault").expect("complete");
    assert_eq!(
        (len, parsed.body, parsed.keep_alive),
        (head.len(), Body::Length(12), true)
    );
    assert_eq!(parsed.params[0].1.of(head), b"eu");
}

#[test]
fn an_answer_without_length_ends_with_the_connection() {
    let head = response(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n",
        |_, _| {},
    )
    .expect("no fault")
    .expect("complete");
    assert_eq!(
        (head.body, head.keep_alive, head.content),
        (Body::UntilClose, false, Content::Events)
    );
}
