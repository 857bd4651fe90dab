//! crossfade-runtime
