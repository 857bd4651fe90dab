//! The balancers as Python classes. `usable` is an int of any size, bit i for instance i.

use crossfade_core as core;
use crossfade_core::Balance;
use pyo3::prelude::*;

use super::shared::{Core, Low};

const WORD: usize = 64;
/// Masks of this many words live on the stack.
const FEW: usize = 4;

struct State<B> {
    balancer: B,
    words: usize,
}

impl<B: Balance> State<B> {
    fn new(balancer: B, n: usize) -> Core<Self> {
        Core::new(Self {
            balancer,
            words: n.div_ceil(WORD),
        })
    }

    fn pick(&mut self, now_ns: u64, usable: &Bound<'_, PyAny>, key: u64) -> PyResult<isize> {
        let picked = if self.words <= 1 {
            let Low(word) = usable.extract()?;
            self.balancer.pick(now_ns, &[word], key)
        } else if self.words <= FEW {
            let mut words = [0; FEW];
            split(usable, &mut words[..self.words])?;
            self.balancer.pick(now_ns, &words[..self.words], key)
        } else {
            let mut words = vec![0; self.words];
            split(usable, &mut words)?;
            self.balancer.pick(now_ns, &words, key)
        };
        Ok(picked.map_or(-1, usize::cast_signed))
    }
}

fn split(usable: &Bound<'_, PyAny>, words: &mut [u64]) -> PyResult<()> {
    for (number, word) in words.iter_mut().enumerate() {
        Low(*word) = if number == 0 {
            usable.extract()?
        } else {
            usable.rshift(number * WORD)?.extract()?
        };
    }
    Ok(())
}

macro_rules! balancer {
    ($(#[$doc:meta])* $name:ident, $python:literal, ($($argument:ident: $kind:ty),*) => ($n:expr, $make:expr)) => {
        $(#[$doc])*
        #[pyclass(frozen, name = $python, module = "crossfade_native")]
        pub struct $name(Core<State<core::$name>>);

        #[pymethods]
        impl $name {
            #[new]
            #[allow(clippy::needless_pass_by_value)] // what Python hands over is the argument's own
            fn new($($argument: $kind),*) -> Self {
                Self(State::new($make, $n))
            }

            #[pyo3(signature = (now_ns, usable, key = Low(0)), text_signature = "(self, now_ns, usable, key=0)")]
            fn pick(&self, now_ns: u64, usable: &Bound<'_, PyAny>, key: Low) -> PyResult<isize> {
                self.0.lock().pick(now_ns, usable, key.0)
            }

            fn started(&self, i: usize) {
                self.0.lock().balancer.started(i);
            }

            fn finished(&self, i: usize, now_ns: u64, latency_ns: u64, ok: bool) {
                self.0.lock().balancer.finished(i, now_ns, latency_ns, ok);
            }

            fn cancelled(&self, i: usize) {
                self.0.lock().balancer.cancelled(i);
            }

            fn pending(&self, i: usize) -> u64 {
                self.0.lock().balancer.pending(i)
            }

            fn ewma_ns(&self, i: usize) -> u64 {
                self.0.lock().balancer.ewma_ns(i)
            }

            fn resize(&self, n: usize) {
                let mut state = self.0.lock();
                state.balancer.resize(n);
                state.words = n.div_ceil(WORD);
            }
        }
    };
}

balancer!(
    /// See `crossfade.impls.cores.RoundRobin`.
    RoundRobin, "RoundRobin", (n: usize) => (n, core::RoundRobin::new(n))
);
balancer!(
    /// See `crossfade.impls.cores.Weighted`.
    Weighted, "Weighted", (weights: Vec<u32>) => (weights.len(), core::Weighted::new(&weights))
);
balancer!(
    /// See `crossfade.impls.cores.LeastPending`.
    LeastPending, "LeastPending", (n: usize) => (n, core::LeastPending::new(n))
);
balancer!(
    /// See `crossfade.impls.cores.P2C`.
    P2c, "P2C", (n: usize, seed: Low) => (n, core::P2c::new(n, seed.0))
);
balancer!(
    /// See `crossfade.impls.cores.Rendezvous`.
    Rendezvous, "Rendezvous", (n: usize) => (n, core::Rendezvous::new(n))
);
