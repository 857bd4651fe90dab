//! The only map from native errors to Python classes: by `code`, into `crossfade.impls.errors.BY_CODE`.
//!
//! The classes are looked up once and kept. A code that the Python side does not know is a mismatch of the two wheels
//! and becomes the root class, with the code in front of the message.

use crossfade_runtime::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};

const FORKED: &str = "this process was forked after crossfade_native had started, and native threads do not survive a \
                      fork; start the child with the 'spawn' or 'forkserver' method, or open the manager after the fork";

/// The exception for an error of the runtime.
pub fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let server = error.server();
    if let Error::RateLimited { retry_after_ms, .. } = error {
        return rate_limited(py, &error.message(), server, *retry_after_ms);
    }
    match error.remote() {
        Some(fault) => remote(
            py,
            &fault.message,
            server,
            fault.code,
            fault.data.as_deref(),
        ),
        None => by_code(py, error.code(), &error.message(), server),
    }
}

/// A bug of ours, caught where its task ended.
pub fn raise_panic(py: Python<'_>, message: &str) -> PyErr {
    let text = format!(
        "crossfade_native failed inside ({message}); only this request is lost, please report it with the text above"
    );
    by_code(py, "error", &text, None)
}

/// Use in a forked child.
pub fn raise_forked(py: Python<'_>) -> PyErr {
    by_code(py, "error", FORKED, None)
}

/// A setting of the native side is wrong.
pub fn raise_config(py: Python<'_>, message: &str) -> PyErr {
    by_code(py, "config", message, None)
}

/// The exception of a class without further fields.
pub fn by_code(py: Python<'_>, code: &str, message: &str, server: Option<&str>) -> PyErr {
    let known = class(py, code).and_then(|found| match found {
        Some(class) => build(py, &class, message, server, None),
        None => match class(py, "error")? {
            Some(root) => build(py, &root, &format!("{code}: {message}"), server, None),
            None => Err(pyo3::exceptions::PyRuntimeError::new_err(
                message.to_owned(),
            )),
        },
    });
    known.unwrap_or_else(|error| error)
}

/// `RateLimited`, with the time until the next request is admitted.
fn rate_limited(py: Python<'_>, message: &str, server: Option<&str>, wait_ms: u64) -> PyErr {
    with_fields(py, "rate_limited", message, server, |fields| {
        fields.set_item("retry_after_ms", wait_ms)
    })
}

/// `RemoteError`: code, message and data pass through untouched.
pub fn remote(
    py: Python<'_>,
    message: &str,
    server: Option<&str>,
    remote_code: i64,
    data: Option<&[u8]>,
) -> PyErr {
    with_fields(py, "remote", message, server, |fields| {
        fields.set_item("remote_code", remote_code)?;
        if let Some(data) = data {
            fields.set_item("data", decode(py, data)?)?;
        }
        Ok(())
    })
}

fn with_fields<'py>(
    py: Python<'py>,
    code: &str,
    message: &str,
    server: Option<&str>,
    fill: impl FnOnce(&Bound<'py, PyDict>) -> PyResult<()>,
) -> PyErr {
    let built = || -> PyResult<PyErr> {
        let Some(class) = class(py, code)? else {
            return Ok(by_code(py, "error", message, server));
        };
        let fields = PyDict::new(py);
        fill(&fields)?;
        build(py, &class, message, server, Some(&fields))
    };
    built().unwrap_or_else(|error| error)
}

fn class<'py>(py: Python<'py>, code: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    static BY_CODE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    BY_CODE
        .import(py, "crossfade.impls.errors", "BY_CODE")?
        .cast::<PyDict>()?
        .get_item(code)
}

fn build(
    py: Python<'_>,
    class: &Bound<'_, PyAny>,
    message: &str,
    server: Option<&str>,
    fields: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyErr> {
    let keywords = match fields {
        Some(fields) => fields.clone(),
        None => PyDict::new(py),
    };
    keywords.set_item("server", server)?;
    let arguments = PyTuple::new(py, [message])?;
    Ok(PyErr::from_value(class.call(arguments, Some(&keywords))?))
}

fn decode<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    static DECODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DECODE
        .import(py, "msgspec.json", "decode")?
        .call1((PyBytes::new(py, json),))
}
