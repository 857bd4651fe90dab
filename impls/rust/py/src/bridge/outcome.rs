//! What a task on tokio leaves for the coroutine that waits for it. It holds no Python object.

use bytes::Bytes;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;

/// Builds a Python object once the loop's thread has the interpreter.
pub type Build = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// The end of a task.
pub enum Outcome {
    /// It has nothing to say.
    Nothing,
    /// Crosses as `bytes`, decoded by whoever looks.
    Bytes(Bytes),
    /// Anything rarer.
    Build(Build),
    /// The runtime's own error.
    Failed(crossfade_runtime::Error),
    /// A bug; one bad request never takes the process down.
    Panicked(String),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(&bytes.len()).finish(),
            Self::Build(_) => f.write_str("Build"),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
            Self::Panicked(message) => f.debug_tuple("Panicked").field(message).finish(),
        }
    }
}

impl Outcome {
    /// The value, or the exception to raise.
    pub fn into_python(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Nothing => Ok(py.None()),
            Self::Bytes(bytes) => Ok(PyBytes::new(py, &bytes).into_any().unbind()),
            Self::Build(build) => build(py),
            Self::Failed(error) => Err(errors::raise(py, &error)),
            Self::Panicked(message) => Err(errors::raise_panic(py, &message)),
        }
    }
}

impl From<crossfade_runtime::Result<()>> for Outcome {
    fn from(result: crossfade_runtime::Result<()>) -> Self {
        result.map_or_else(Self::Failed, |()| Self::Nothing)
    }
}

impl From<crossfade_runtime::Result<Bytes>> for Outcome {
    fn from(result: crossfade_runtime::Result<Bytes>) -> Self {
        result.map_or_else(Self::Failed, Self::Bytes)
    }
}
