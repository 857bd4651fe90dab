//! Which request comes next: the method by its weight, the tool by the seed, the head by the connection's target.
//!
//! Rule: every request there can be is formatted beforehand, and the draws are a stream of their own, so that neither
//! nonces nor arrivals move when a plan mixes. A plan of one kind draws nothing.

use crate::plan::{Era, Plan};
use crate::rng::SplitMix64;
use crate::template::{Method, Template};

#[derive(Debug)]
pub struct Requests {
    /// All kinds for the first target, then all for the second; legacy requests have one target for all.
    templates: Vec<Template>,
    kinds: usize,
    tools: u64,
    list_below: u64,
    call_below: u64,
    weights: u64,
    rng: SplitMix64,
}

impl Requests {
    pub fn new(plan: &Plan) -> Self {
        let targets = match plan.era {
            Era::Modern => &plan.targets[..],
            Era::Legacy => &plan.targets[..1],
        };
        let mut templates = Vec::new();
        for target in targets {
            for tool in &plan.tools {
                templates.push(Template::new(plan, target, Method::Call, tool));
            }
            if plan.mix.is_some() {
                templates.push(Template::new(plan, target, Method::List, ""));
                templates.push(Template::new(plan, target, Method::Read, ""));
            }
        }
        let (list, call, read) = plan.mix.map_or((0, 1, 0), |mix| {
            (mix.list.into(), mix.call.into(), u64::from(mix.read))
        });
        Self {
            kinds: templates.len() / targets.len(),
            templates,
            tools: plan.tools.len() as u64,
            list_below: list,
            call_below: list + call,
            weights: list + call + read,
            rng: SplitMix64::new(plan.seed ^ 0x5A5A_A5A5_F0F0_0F0F),
        }
    }

    /// Draws the next request of a connection: its place for [`Requests::at`].
    #[inline]
    pub fn draw(&mut self, key: usize) -> usize {
        if self.templates.len() == 1 {
            return 0;
        }
        let base = key * self.kinds % self.templates.len();
        if self.kinds == 1 {
            return base;
        }
        base + self.kind()
    }

    #[allow(clippy::cast_possible_truncation)] // below the number of tools
    fn kind(&mut self) -> usize {
        let drawn = self.rng.next_u64() % self.weights;
        if drawn < self.list_below {
            return self.tools as usize;
        }
        if drawn >= self.call_below {
            return self.tools as usize + 1;
        }
        (self.rng.next_u64() % self.tools) as usize
    }

    #[inline]
    pub fn at(&self, place: usize) -> &Template {
        &self.templates[place]
    }

    #[inline]
    pub fn at_mut(&mut self, place: usize) -> &mut Template {
        &mut self.templates[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(more: &str) -> Requests {
        let json = format!(r#"{{"mode":"closed","connections":1,"duration_s":1{more}}}"#);
        Requests::new(&Plan::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn methods_come_by_weight_and_every_tool_is_used() {
        let mut mixed =
            requests(r#","port":1,"tools":["a","b","c"],"mix":{"list":20,"call":70,"read":10}"#);
        let mut seen = [0; 5];
        for _ in 0..10_000 {
            seen[mixed.draw(0)] += 1;
        }
        assert!((1900..2100).contains(&seen[3]), "{seen:?}");
        assert!((900..1100).contains(&seen[4]), "{seen:?}");
        assert!(
            seen[..3].iter().all(|calls| (2200..2470).contains(calls)),
            "{seen:?}"
        );
    }

    #[test]
    fn each_connection_names_its_own_target_in_its_requests() {
        for (era, second) in [("modern", "Host: 127.0.0.1:2\r\n"), ("legacy", "")] {
            let mut both = requests(&format!(
                r#","era":"{era}","targets":[{{"port":1}},{{"port":2}}]"#
            ));
            let place = both.draw(3);
            let text = both.at_mut(place).patch(1_000_000_000, 1).to_vec();
            assert!(String::from_utf8(text).unwrap().contains(second));
        }
    }
}
