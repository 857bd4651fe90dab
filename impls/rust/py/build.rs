//! Tells the crate how it was built, so that a report can refuse numbers from a development build.
//!
//! Cargo sets `PROFILE` to `release` for every profile that inherits from it; only the directory it builds in knows
//! `quick-release` from `release`.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=CROSSFADE_PROFILE={}", profile());
    println!("cargo:rustc-env=CROSSFADE_RUSTC={}", rustc());
    println!("cargo:rustc-env=CROSSFADE_FEATURES={}", features());
}

/// `OUT_DIR` is `<target>/[<triple>/]<profile>/build/<package>-<hash>/out`.
fn profile() -> String {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let parts: Vec<_> = Path::new(&out)
        .iter()
        .filter_map(|part| part.to_str())
        .collect();
    parts
        .iter()
        .rposition(|part| *part == "build")
        .and_then(|at| parts.get(at.checked_sub(1)?))
        .map_or_else(
            || env::var("PROFILE").unwrap_or_default(),
            |dir| (*dir).to_owned(),
        )
}

fn rustc() -> String {
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |version| version.trim().to_owned())
}

fn features() -> String {
    let mut on: Vec<_> = env::vars()
        .filter_map(|(key, _)| {
            key.strip_prefix("CARGO_FEATURE_")
                .map(|f| f.to_lowercase().replace('_', "-"))
        })
        .collect();
    on.sort();
    on.join(",")
}
