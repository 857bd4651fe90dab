//! `crossfade-load [PLAN]`: the load generator without Python. PLAN is JSON (default: the first line of standard input); see
//! `crossfade_load::plan` for its keys. Events are JSON lines on standard output.
use std::io::{BufRead, Write};
use std::process::ExitCode;

use crossfade_load::{Failure, Host, drive};

struct Stdout;

impl Host for Stdout {
    fn emit(&mut self, event: &str) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{event}")
            .and_then(|()| out.flush())
            .map_err(|_| Failure::Interrupted)
    }
}

fn main() -> ExitCode {
    let plan = std::env::args().nth(1).unwrap_or_else(|| {
        let mut line = String::new();
        let _ = std::io::stdin().lock().read_line(&mut line);
        line
    });
    match drive::run(plan.as_bytes(), &mut Stdout).and_then(|result| Stdout.emit(&result)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("crossfade-load: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) {
                64
            } else {
                1
            })
        }
    }
}
