//! crossfade-core
