//! Serves one client over stdin and stdout.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::manager::Inner;

pub(crate) async fn serve(_manager: Arc<Inner>) -> Result<()> {
    Err(Error::internal(
        "stdio serving is not wired yet; update crossfade-native",
    ))
}
