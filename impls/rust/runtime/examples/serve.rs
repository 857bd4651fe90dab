//! Serves a configuration (the JSON of `Config.to_json()`, from a file) without Python: for profiling and by hand.
//!
//! `cargo run --release --example serve -- CONFIG.json [PORT]`

use std::time::Duration;

use crossfade_runtime::{Config, Manager};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a configuration file")?;
    let port = arguments.next().map_or(Ok(8080), |port| port.parse())?;
    let config = Config::from_json(&std::fs::read(path)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let manager = Manager::new(config, tokio::runtime::Handle::current());
        manager.start().await?;
        let gateway = manager.serve("127.0.0.1", port).await?;
        println!("{}", gateway.addr());
        tokio::signal::ctrl_c().await?;
        manager.close(Duration::from_secs(1)).await;
        Ok(())
    })
}
