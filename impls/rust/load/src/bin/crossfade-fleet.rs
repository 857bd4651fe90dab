//! `crossfade-fleet [--stdio] [CONFIG]`: the fleet without Python. CONFIG is JSON (default: the first line of standard
//! input); see `crossfade_load::fleet` for its keys. Ends at the end of standard input.
use std::io::{BufRead, Write};
use std::process::ExitCode;

use crossfade_load::{Failure, Host, fleet};

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
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let stdio = arguments.first().is_some_and(|first| first == "--stdio");
    if stdio {
        arguments.remove(0);
    }
    let config = arguments.pop().unwrap_or_else(|| {
        let mut line = String::new();
        if !stdio {
            let _ = std::io::stdin().lock().read_line(&mut line);
        }
        line
    });
    let done = if stdio {
        fleet::stdio::serve(config.as_bytes())
    } else {
        fleet::http::serve(config.as_bytes(), &mut Stdout)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("crossfade-fleet: {failure}");
            ExitCode::from(if matches!(failure, Failure::Usage(_)) {
                64
            } else {
                1
            })
        }
    }
}
