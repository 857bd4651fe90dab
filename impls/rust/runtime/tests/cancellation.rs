//! Whoever gives up at whatever moment loses no slot and leaves no call behind.

mod common;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::{Upstream, until};
use crossfade_runtime::{
    BalancerKind, BreakerSpec, BulkheadSpec, Config, HedgeSpec, Manager, PoolSpec, RetrySpec,
    ServerSpec, Target,
};

const PARAMS: &[u8] = br#"{"name":"fix__echo","arguments":{"text":"x"}}"#;

/// `cat` for MCP: answers every request of a modern client, in shell, except `tools/call` while the file exists.
const STDIO: &str = r#"
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  case "$line" in
    *notifications/cancelled*) echo "cancelled" >&2 ;;
    *server/discover*) printf '{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}}}\n' "$id" ;;
    *) printf '{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}\n' "$id" ;;
  esac
done
"#;

async fn manager(spec: ServerSpec) -> Arc<Manager> {
    let config = Config {
        servers: vec![spec],
        ..Config::default()
    };
    let manager = Manager::new(config, tokio::runtime::Handle::current());
    manager.start().await.expect("starts");
    manager
}

fn spec() -> ServerSpec {
    ServerSpec {
        name: "fix".to_owned(),
        pool: PoolSpec {
            max_connections: 2,
            stdio_streams: 2,
            acquire_timeout_ms: 2_000,
            ..PoolSpec::default()
        },
        ..ServerSpec::default()
    }
}

/// Polls a call `polls` times, letting the runtime run in between, and drops it. True if it was done before.
async fn dropped_after(manager: &Manager, polls: usize) -> bool {
    let call = manager.request(
        "tools/call",
        Target::Auto,
        Bytes::from_static(PARAMS),
        None,
        None,
    );
    tokio::pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(outcome) = call.as_mut().poll(&mut cx) {
            outcome.expect("an answer");
            return true;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    false
}

async fn no_slot_is_lost(manager: &Arc<Manager>) {
    let mut polls = 0;
    let mut done = 0;
    // Past the last await every call is done; a few more rounds cover reused connections in each state.
    while done < 5 && polls < 500 {
        polls += 1;
        done += usize::from(dropped_after(manager, polls).await);
    }
    assert!(done >= 5, "the call never finished");
    until("the end of all calls", || manager.metrics().in_flight == 0).await;
    let calls = (0..8).map(|_| {
        let manager = Arc::clone(manager);
        tokio::spawn(async move {
            manager
                .request(
                    "tools/call",
                    Target::Auto,
                    Bytes::from_static(PARAMS),
                    Some(Duration::from_secs(5)),
                    None,
                )
                .await
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("no panic").expect("a slot and an answer");
    }
    assert_eq!(manager.metrics().in_flight, 0);
}

#[tokio::test]
async fn a_call_over_http_dropped_at_every_poll_loses_no_slot() {
    let (_, address) = Upstream::default().start().await;
    let manager = manager(ServerSpec {
        urls: vec![format!("http://{address}/mcp")],
        ..spec()
    })
    .await;
    no_slot_is_lost(&manager).await;
    manager.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_over_stdio_dropped_at_every_poll_loses_no_slot() {
    let command = ServerSpec {
        command: Some("sh".to_owned()),
        args: vec!["-c".to_owned(), STDIO.to_owned()],
        ..spec()
    };
    let manager = manager(command).await;
    no_slot_is_lost(&manager).await;
    manager.close(Duration::from_secs(1)).await;
}

/// One place, however many callers: one that is lost is missed at once.
fn one_place() -> BulkheadSpec {
    BulkheadSpec {
        max_in_flight: 1,
        max_queue: 64,
        queue_timeout_ms: 5_000,
    }
}

#[tokio::test]
async fn a_hedged_call_dropped_at_every_poll_gives_back_its_place_and_both_copies() {
    let (first, one) = Upstream::default().start().await;
    let (second, two) = Upstream::default().start().await;
    let manager = manager(ServerSpec {
        urls: vec![format!("http://{one}/mcp"), format!("http://{two}/mcp")],
        bulkhead: one_place(),
        hedge: HedgeSpec {
            enabled: true,
            delay_ms: 1,
            per_mille: 1_000,
            tools: vec!["echo".to_owned()],
        },
        ..spec()
    })
    .await;
    // Held for some polls, so that there are polls with both copies under way.
    for upstream in [&first, &second] {
        upstream.hold.store(true, SeqCst);
    }
    for polls in 1..60 {
        assert!(!dropped_after(&manager, polls).await, "nobody answers");
    }
    until("the end of all copies", || {
        [&first, &second]
            .iter()
            .all(|upstream| upstream.in_flight.load(SeqCst) == 0)
    })
    .await;
    let hedges = manager.metrics().servers["fix"].hedges;
    assert!(hedges > 0, "no second copy was ever under way");
    for upstream in [&first, &second] {
        upstream.hold.store(false, SeqCst);
    }
    no_slot_is_lost(&manager).await;
    manager.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_that_is_made_again_dropped_at_every_poll_gives_back_its_place() {
    let (_, good) = Upstream::default().start().await;
    let bad = Upstream {
        hang_up: true,
        ..Upstream::default()
    };
    let (_, bad) = bad.start().await;
    let manager = manager(ServerSpec {
        urls: vec![format!("http://{bad}/mcp"), format!("http://{good}/mcp")],
        bulkhead: one_place(),
        balancer: BalancerKind::RoundRobin,
        breaker: BreakerSpec {
            enabled: false,
            ..BreakerSpec::default()
        },
        retry: RetrySpec {
            attempts: 5,
            base_ms: 1,
            cap_ms: 3,
            budget_per_mille: 1_000,
            budget_burst: 1_000,
            tools: vec!["echo".to_owned()],
            ..RetrySpec::default()
        },
        ..spec()
    })
    .await;
    no_slot_is_lost(&manager).await;
    assert!(manager.metrics().servers["fix"].retries > 0);
    manager.close(Duration::ZERO).await;
}

#[tokio::test]
async fn a_manager_that_closes_ends_the_calls_in_process_at_once() {
    let (upstream, address) = Upstream::default().start().await;
    let manager = manager(ServerSpec {
        urls: vec![format!("http://{address}/mcp")],
        ..spec()
    })
    .await;
    upstream.hold.store(true, SeqCst);
    let calling = Arc::clone(&manager);
    let call = tokio::spawn(async move {
        let params = Bytes::from_static(PARAMS);
        calling
            .request("tools/call", Target::Auto, params, None, None)
            .await
    });
    until("the call upstream", || upstream.in_flight.load(SeqCst) == 1).await;
    let began = std::time::Instant::now();
    manager.close(Duration::from_secs(5)).await;
    let error = call.await.expect("no panic").expect_err("it is closed");
    assert_eq!(error.code(), "manager_closed");
    assert!(began.elapsed() < Duration::from_secs(2), "it waited for it");
}

#[tokio::test]
async fn a_caller_that_queues_and_gives_up_takes_nobodys_turn() {
    let (upstream, address) = Upstream::default().start().await;
    let manager = manager(ServerSpec {
        urls: vec![format!("http://{address}/mcp")],
        ..spec()
    })
    .await;
    upstream.hold.store(true, SeqCst);
    let call = || {
        let manager = Arc::clone(&manager);
        tokio::spawn(async move {
            manager
                .request(
                    "tools/call",
                    Target::Auto,
                    Bytes::from_static(PARAMS),
                    None,
                    None,
                )
                .await
        })
    };
    let first = [call(), call()];
    until("two calls upstream", || {
        upstream.in_flight.load(SeqCst) == 2
    })
    .await;
    let queued: Vec<_> = (0..6).map(|_| call()).collect();
    until("six more in flight", || manager.metrics().in_flight == 8).await;
    for waiting in queued.iter().step_by(2) {
        waiting.abort();
    }
    until("three to leave", || manager.metrics().in_flight == 5).await;
    upstream.hold.store(false, SeqCst);
    for done in first {
        done.await.expect("no panic").expect("an answer");
    }
    for (index, waiting) in queued.into_iter().enumerate() {
        match waiting.await {
            Ok(outcome) => drop(outcome.expect("an answer")),
            Err(aborted) => assert!(aborted.is_cancelled() && index % 2 == 0),
        }
    }
    assert_eq!(manager.metrics().in_flight, 0);
    manager.close(Duration::ZERO).await;
}
