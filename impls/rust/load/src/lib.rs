//! crossfade-load
