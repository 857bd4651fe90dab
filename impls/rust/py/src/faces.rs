//! What a manager hands out that lives on: a running gateway, and readers of events and logs.

use std::sync::Arc;

use crossfade_runtime::{GatewayHandle, LogFeed, Subscription as Events};
use pyo3::prelude::*;

use crate::bridge::{Coroutine, Outcome};
use crate::manager::{json, seconds};

/// A running gateway face.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Gateway {
    handle: Arc<GatewayHandle>,
}

impl Gateway {
    pub fn new(handle: GatewayHandle) -> Self {
        Self {
            handle: Arc::new(handle),
        }
    }
}

#[pymethods]
impl Gateway {
    /// The address it listens on.
    #[getter]
    fn host(&self) -> String {
        self.handle.addr().ip().to_string()
    }

    /// The port it listens on, also when 0 was asked for.
    #[getter]
    fn port(&self) -> u16 {
        self.handle.addr().port()
    }

    /// Stops accepting, waits for requests in flight, closes what is left.
    fn close(&self, drain_s: f64) -> PyResult<Coroutine> {
        let drain = seconds(drain_s)?;
        let handle = Arc::clone(&self.handle);
        Ok(Coroutine::new("Gateway.close", async move {
            handle.close(drain).await;
            Outcome::Nothing
        }))
    }
}

/// A reader of events. Everything since it was made is kept for it, up to a bound.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Subscription {
    events: Arc<Events>,
}

impl Subscription {
    pub fn new(events: Events) -> Self {
        Self {
            events: Arc::new(events),
        }
    }
}

#[pymethods]
impl Subscription {
    /// The next `Event` as JSON, or None when there will be no more.
    fn next(&self) -> Coroutine {
        let events = Arc::clone(&self.events);
        Coroutine::new("Subscription.next", async move {
            match events.recv().await {
                Some(event) => json(&event).into(),
                None => Outcome::Nothing,
            }
        })
    }

    /// Ends it; a reader that waits gets None.
    fn close(&self) {
        self.events.close();
    }
}

/// What servers write to stderr. Everything since it was made is kept for it, up to a bound.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Logs {
    feed: Arc<LogFeed>,
}

impl Logs {
    pub fn new(feed: LogFeed) -> Self {
        Self {
            feed: Arc::new(feed),
        }
    }
}

#[pymethods]
impl Logs {
    /// The next lines as a JSON array of `{"server","level","text"}`, or None when there will be no more.
    fn next(&self) -> Coroutine {
        let feed = Arc::clone(&self.feed);
        Coroutine::new("Logs.next", async move {
            match feed.recv().await {
                Some(lines) => json(&lines).into(),
                None => Outcome::Nothing,
            }
        })
    }
}
