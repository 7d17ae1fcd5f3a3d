//! Plan: what a seed draws before anything runs.
//!
//! Consumes a seed and a [`Reduction`] (what a person or the shrinker takes away); produces features,
//! sizes, network faults and a list of incidents with their times. Swarm testing: every feature is
//! off entirely in a share of the seeds, because a fault that always happens hides what only shows
//! without it. Must not know agents.

mod features;
mod incidents;
mod settings;

pub use features::{Feature, Features};
pub use incidents::{Incident, What};
pub use settings::config_text;

use super::{Dice, GATEWAY, GROUP_A, GROUP_B, REPAIR};
use crate::config::Durability;
use crate::net::{LinkFaults, Way};
use crate::store::Tier;
use std::fmt;
use std::str::FromStr;

/// One millisecond, in ns.
pub const MS: u64 = 1_000_000;
/// Orders that a seed enters at least, and deaths of the exchange that it has, unless something was
/// taken away from it.
pub const ORDERS_MIN: u64 = 1_000;
/// See [`ORDERS_MIN`].
pub const CRASHES_MIN: u64 = 2;

/// Everything decided beforehand.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// What was taken away from it.
    pub reduction: Reduction,
    /// What is on.
    pub features: Features,
    /// When a command counts as committed.
    pub durability: Durability,
    /// Brokers, one session each.
    pub brokers: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Hostile peers.
    pub hostile: usize,
    /// Symbols.
    pub symbols: usize,
    /// Open orders of the venue at most.
    pub orders_max: u32,
    /// Price pages of a symbol at most.
    pub price_pages_max: u32,
    /// Bytes of a log segment.
    pub segment_bytes: u64,
    /// Segments of a log in the hot tier.
    pub hot_segments_max: usize,
    /// Reports of each session that egress keeps.
    pub reports_kept: usize,
    /// Messages per second and burst of a session.
    pub rate: (u32, u32),
    /// New orders that all brokers together enter before healing begins.
    pub orders: u64,
    /// When the run begins, ns since 1970.
    pub start: u64,
    /// Simulated time until healing begins, at least, ns.
    pub run_ns: u64,
    /// Longest time that an idle venue is not stepped, ns.
    pub idle_ns: u64,
    /// Agents by thread, as indices into the order of flow.
    pub threads: Vec<Vec<usize>>,
    /// Faults of the network.
    pub network: NetworkFaults,
    /// What happens when, in order of time.
    pub incidents: Vec<Incident>,
}

/// Faults of every direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetworkFaults {
    /// Brokers -> gateway.
    pub to_gateway: LinkFaults,
    /// Gateway -> brokers.
    pub to_brokers: LinkFaults,
    /// Line A of the feed.
    pub line_a: LinkFaults,
    /// Line B.
    pub line_b: LinkFaults,
    /// Repair requests.
    pub to_repair: LinkFaults,
    /// Repair answers.
    pub from_repair: LinkFaults,
}

impl NetworkFaults {
    /// As the network takes them.
    pub fn links(&self) -> Vec<(Way, LinkFaults)> {
        vec![
            (Way::To(GATEWAY), self.to_gateway),
            (Way::From(GATEWAY), self.to_brokers),
            (Way::To(GROUP_A), self.line_a),
            (Way::To(GROUP_B), self.line_b),
            (Way::To(REPAIR), self.to_repair),
            (Way::From(REPAIR), self.from_repair),
        ]
    }

    /// The delays alone.
    pub fn healed(&self) -> Vec<(Way, LinkFaults)> {
        let clean = |f: LinkFaults| LinkFaults { delay_ns: f.delay_ns, ..LinkFaults::default() };
        self.links().into_iter().map(|(way, faults)| (way, clean(faults))).collect()
    }
}

impl Plan {
    /// Reports that the gateway keeps in memory of each session: of what is configured the power of two.
    pub fn reports_in_memory(&self) -> u64 {
        self.reports_kept.max(512).next_power_of_two() as u64
    }

    /// What `seed` draws, less what `reduction` takes away.
    pub fn draw(seed: u64, reduction: Reduction) -> Plan {
        let mut features = Features::draw(&mut Dice::new(seed, "features"));
        for feature in &reduction.off {
            features.remove(*feature);
        }
        let mut plan = settings::draw(seed, features);
        plan.network = network(&mut Dice::new(seed, "network"), &plan);
        plan.incidents = incidents::draw(seed, &plan);
        if let Some(ms) = reduction.run_ms {
            plan.run_ns = plan.run_ns.min(ms * MS);
            plan.orders = 0;
        }
        if let Some(kept) = &reduction.incidents {
            plan.incidents.retain(|i| kept.contains(&i.number));
        }
        plan.reduction = reduction;
        plan
    }

    /// True when `feature` is on.
    pub fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// Where the hot tier lies.
    pub fn hot_tier(&self) -> Tier {
        if self.has(Feature::HotOnDisk) { Tier::Disk } else { Tier::Memory }
    }

    /// The hot directory: the simulated host has its memory below `/memory`.
    pub fn hot_dir(&self) -> &'static str {
        match self.hot_tier() {
            Tier::Memory => "/memory/hot",
            Tier::Disk => "/hot",
        }
    }

    /// The command that runs exactly this again.
    pub fn command(&self) -> String {
        format!("rialto sim --seed {}{}", self.seed, self.reduction)
    }
}

fn network(dice: &mut Dice, plan: &Plan) -> NetworkFaults {
    let mut link = || {
        // All are drawn always, so that a feature switched off changes nothing elsewhere.
        let drawn = LinkFaults {
            lose: dice.magnitude(1_000, 200_000) as u32,
            duplicate: dice.magnitude(1_000, 200_000) as u32,
            corrupt: dice.magnitude(500, 50_000) as u32,
            truncate: dice.magnitude(500, 20_000) as u32,
            late: dice.magnitude(1_000, 300_000) as u32,
            late_ns: dice.magnitude(10_000, 100 * MS),
            delay_ns: dice.magnitude(1_000, 500_000),
            checked: false,
        };
        // One direction in four is clean.
        let on = |feature, share: u32| if plan.has(feature) { share } else { 0 };
        match dice.percent(25) {
            true => LinkFaults { delay_ns: drawn.delay_ns, ..LinkFaults::default() },
            false => LinkFaults {
                lose: on(Feature::Loss, drawn.lose),
                duplicate: on(Feature::Duplicate, drawn.duplicate),
                corrupt: on(Feature::Corrupt, drawn.corrupt),
                truncate: on(Feature::Corrupt, drawn.truncate),
                late: on(Feature::Reorder, drawn.late),
                ..drawn
            },
        }
    };
    let mut faults = NetworkFaults {
        to_gateway: link(),
        to_brokers: link(),
        line_a: link(),
        line_b: link(),
        to_repair: link(),
        from_repair: link(),
    };
    // The feed and order entry without a MAC have no other protection than UDP's checksum.
    faults.to_brokers.checked = !plan.has(Feature::PacketMac);
    faults.to_gateway.checked = !plan.has(Feature::PacketMac);
    for link in [&mut faults.line_a, &mut faults.line_b, &mut faults.from_repair] {
        link.checked = true;
    }
    faults
}

/// What is taken away from a seed's plan. As text it is the rest of the command line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reduction {
    /// Features switched off.
    pub off: Vec<Feature>,
    /// Numbers of the incidents that stay; `None` = all.
    pub incidents: Option<Vec<usize>>,
    /// Healing begins after so many milliseconds, however few orders there were.
    pub run_ms: Option<u64>,
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.off.is_empty() {
            let names: Vec<&str> = self.off.iter().map(|o| o.text()).collect();
            write!(f, " --off {}", names.join(","))?;
        }
        if let Some(kept) = &self.incidents {
            let numbers: Vec<String> = kept.iter().map(|n| n.to_string()).collect();
            let text = if numbers.is_empty() { "none".into() } else { numbers.join(",") };
            write!(f, " --incidents {text}")?;
        }
        match self.run_ms {
            Some(ms) => write!(f, " --run-ms {ms}"),
            None => Ok(()),
        }
    }
}

impl Reduction {
    /// Reads what the command line says.
    pub fn parse(
        off: Option<&str>,
        incidents: Option<&str>,
        run_ms: Option<u64>,
    ) -> Result<Reduction, String> {
        let list = |text: &str| text.split(',').map(|t| t.trim().to_string()).collect::<Vec<_>>();
        let off = off.map_or(Ok(Vec::new()), |text| {
            list(text).iter().map(|t| Feature::from_str(t)).collect::<Result<Vec<_>, _>>()
        })?;
        let incidents = match incidents {
            None => None,
            Some("none") => Some(Vec::new()),
            Some(text) => Some(
                list(text)
                    .iter()
                    .map(|t| t.parse().map_err(|_| format!("{t:?} is no incident's number")))
                    .collect::<Result<Vec<_>, _>>()?,
            ),
        };
        Ok(Reduction { off, incidents, run_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_plan_and_a_reduction_only_takes_away() {
        for seed in 0..200 {
            let whole = Plan::draw(seed, Reduction::default());
            let again = Plan::draw(seed, Reduction::default());
            assert_eq!(format!("{whole:?}"), format!("{again:?}"));
            let crashes = whole.incidents.iter().filter(|i| i.what.is_crash()).count();
            assert!(crashes >= 2, "seed {seed} has {crashes} crashes");
            let off = Reduction { off: vec![Feature::Loss], ..Reduction::default() };
            let less = Plan::draw(seed, off);
            assert_eq!(less.network.to_gateway.lose, 0);
            assert_eq!(less.network.line_a.duplicate, whole.network.line_a.duplicate);
            assert_eq!(less.orders_max, whole.orders_max);
        }
    }

    #[test]
    fn every_feature_is_on_in_some_seeds_and_off_in_others() {
        for feature in Feature::ALL {
            let on = (0..300).filter(|s| Plan::draw(*s, Reduction::default()).has(feature)).count();
            assert!((20..=280).contains(&on), "{}: on in {on} of 300", feature.text());
        }
    }

    #[test]
    fn the_command_line_says_the_reduction() {
        let text = Reduction::parse(Some("loss,crash-in-storage"), Some("3,7"), Some(40)).unwrap();
        assert_eq!(text.to_string(), " --off loss,crash-in-storage --incidents 3,7 --run-ms 40");
        assert!(Reduction::parse(Some("nonsense"), None, None).is_err());
        assert_eq!(Reduction::parse(None, Some("none"), None).unwrap().incidents, Some(vec![]));
    }
}
