//! The cores that judge single requests and instances, as Python classes. Where Rust says `None` Python says -1.

use crossfade_core as core;
use pyo3::prelude::*;

use super::shared::{Core, Low, circuit, count, number};

/// Delays are below 2^63 ns, 292 years.
fn or_minus_one(found: Option<u64>) -> i64 {
    found.map_or(-1, |delay_ns| i64::try_from(delay_ns).unwrap_or(i64::MAX))
}

/// See `crossfade.impls.cores.SplitMix64`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct SplitMix64(Core<core::SplitMix64>);

#[pymethods]
impl SplitMix64 {
    #[new]
    fn new(seed: Low) -> Self {
        Self(Core::new(core::SplitMix64::new(seed.0)))
    }

    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    fn below(&self, n: u64) -> u64 {
        self.0.lock().below(n)
    }
}

/// See `crossfade.impls.cores.Breaker`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Breaker(Core<core::Breaker>);

#[pymethods]
impl Breaker {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Breaker::new(core::BreakerConfig {
            enabled: config.getattr("enabled")?.extract()?,
            window: count(config, "window")?,
            window_ns: number(config, "window_ns")?,
            min_calls: count(config, "min_calls")?,
            failure_per_mille: number(config, "failure_per_mille")?,
            slow_call_ns: number(config, "slow_call_ns")?,
            slow_per_mille: number(config, "slow_per_mille")?,
            open_ns: number(config, "open_ns")?,
            probes: number(config, "probes")?,
        }))))
    }

    fn admit(&self, now_ns: u64) -> bool {
        self.0.lock().admit(now_ns)
    }

    fn record(&self, now_ns: u64, ok: bool, duration_ns: u64) {
        self.0.lock().record(now_ns, ok, duration_ns);
    }

    #[pyo3(signature = (now_ns, duration_ns = 0))]
    fn forget(&self, now_ns: u64, duration_ns: u64) {
        self.0.lock().forget(now_ns, duration_ns);
    }

    fn state(&self, py: Python<'_>, now_ns: u64) -> PyResult<Py<PyAny>> {
        circuit(py, self.0.lock().state(now_ns))
    }

    fn retry_after_ns(&self, now_ns: u64) -> u64 {
        self.0.lock().retry_after_ns(now_ns)
    }
}

fn rate(config: &Bound<'_, PyAny>) -> PyResult<core::RateLimitConfig> {
    Ok(core::RateLimitConfig {
        requests: number(config, "requests")?,
        per_ns: number(config, "per_ns")?,
        burst: number(config, "burst")?,
        max_keys: count(config, "max_keys")?,
    })
}

/// See `crossfade.impls.cores.Gcra`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Gcra(Core<core::Gcra>);

#[pymethods]
impl Gcra {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Gcra::new(rate(config)?))))
    }

    fn admit(&self, now_ns: u64) -> u64 {
        self.0.lock().admit(now_ns)
    }

    fn peek(&self, now_ns: u64) -> u64 {
        self.0.lock().peek(now_ns)
    }
}

/// See `crossfade.impls.cores.KeyedLimiter`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct KeyedLimiter(Core<core::KeyedLimiter>);

#[pymethods]
impl KeyedLimiter {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::KeyedLimiter::new(rate(config)?))))
    }

    fn admit(&self, now_ns: u64, key: u64) -> u64 {
        self.0.lock().admit(now_ns, key)
    }

    fn peek(&self, now_ns: u64, key: u64) -> u64 {
        self.0.lock().peek(now_ns, key)
    }

    #[getter]
    fn size(&self) -> usize {
        self.0.lock().size()
    }
}

/// See `crossfade.impls.cores.Retry`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Retry(Core<core::Retry>);

#[pymethods]
impl Retry {
    #[new]
    fn new(config: &Bound<'_, PyAny>, seed: Low) -> PyResult<Self> {
        let config = core::RetryConfig {
            attempts: number(config, "attempts")?,
            base_ns: number(config, "base_ns")?,
            cap_ns: number(config, "cap_ns")?,
            budget_per_mille: number(config, "budget_per_mille")?,
            budget_burst: number(config, "budget_burst")?,
        };
        Ok(Self(Core::new(core::Retry::new(config, seed.0))))
    }

    fn request(&self) {
        self.0.lock().request();
    }

    fn next(&self, made: u64) -> i64 {
        or_minus_one(self.0.lock().next(made))
    }

    fn forget(&self) {
        self.0.lock().forget();
    }

    fn budget_milli(&self) -> u64 {
        self.0.lock().budget_milli()
    }
}

/// See `crossfade.impls.cores.Hedge`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Hedge(Core<core::Hedge>);

#[pymethods]
impl Hedge {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Hedge::new(core::HedgeConfig {
            delay_ns: number(config, "delay_ns")?,
            per_mille: number(config, "per_mille")?,
        }))))
    }

    fn request(&self) {
        self.0.lock().request();
    }

    fn delay_ns(&self) -> i64 {
        or_minus_one(self.0.lock().delay_ns())
    }

    fn try_start(&self) -> bool {
        self.0.lock().try_start()
    }

    fn record(&self, latency_ns: u64) {
        self.0.lock().record(latency_ns);
    }
}

/// See `crossfade.impls.cores.Shedder`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Shedder(Core<core::Shedder>);

#[pymethods]
impl Shedder {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Shedder::new(core::ShedConfig {
            max_in_flight: count(config, "max_in_flight")?,
            target_ns: number(config, "target_ns")?,
            interval_ns: number(config, "interval_ns")?,
        }))))
    }

    fn admit(&self, now_ns: u64, in_flight: usize) -> bool {
        self.0.lock().admit(now_ns, in_flight)
    }

    fn waited(&self, now_ns: u64, delay_ns: u64) {
        self.0.lock().waited(now_ns, delay_ns);
    }

    #[getter]
    fn shedding(&self) -> bool {
        self.0.lock().shedding()
    }
}

/// See `crossfade.impls.cores.Health`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Health(Core<core::Health>);

#[pymethods]
impl Health {
    #[new]
    fn new(config: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self(Core::new(core::Health::new(core::HealthConfig {
            unhealthy_after: number(config, "unhealthy_after")?,
            healthy_after: number(config, "healthy_after")?,
        }))))
    }

    fn record(&self, ok: bool) -> bool {
        self.0.lock().record(ok)
    }

    #[getter]
    fn healthy(&self) -> bool {
        self.0.lock().healthy()
    }
}

/// See `crossfade.impls.cores.Restart`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Restart(Core<core::Restart>);

#[pymethods]
impl Restart {
    #[new]
    fn new(config: &Bound<'_, PyAny>, seed: Low) -> PyResult<Self> {
        let config = core::RestartConfig {
            base_ns: number(config, "base_ns")?,
            cap_ns: number(config, "cap_ns")?,
            reset_after_ns: number(config, "reset_after_ns")?,
            max_restarts: count(config, "max_restarts")?,
            window_ns: number(config, "window_ns")?,
        };
        Ok(Self(Core::new(core::Restart::new(config, seed.0))))
    }

    fn exited(&self, now_ns: u64, uptime_ns: u64) -> i64 {
        or_minus_one(self.0.lock().exited(now_ns, uptime_ns))
    }

    fn down_until_ns(&self) -> u64 {
        self.0.lock().down_until_ns()
    }

    fn reset(&self) {
        self.0.lock().reset();
    }
}
