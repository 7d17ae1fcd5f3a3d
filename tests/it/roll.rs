//! A venue assembled from a configuration, on a network in memory and a clock moved by hand.

use rialto::agent::Agent;
use rialto::clock::{Clock, ManualClock};
use rialto::config::Config;
use rialto::exchange::command::Phase;
use rialto::gateway::Entropy;
use rialto::net::{AnyPort, MemoryNetwork};
use rialto::topology::{Assembly, Ports, StartError, Surroundings, assemble};
use rialto::types::*;
use std::path::Path;

/// 2025-01-02, midnight UTC.
const MIDNIGHT: Nanos = Nanos(1_735_776_000_000_000_000);
const HOUR: u64 = 3_600_000_000_000;
const MS: u64 = 1_000_000;

const TEXT: &str = r#"
[venue]
name = "RIALTO"
data = "data"
open = "immediate"
degraded = true
test_keys = true
[capacity]
orders_max = 20000
segment_mib = 1
hot_segments_max = 4
[gateway]
listen = "10.0.0.1:9000"
[feed]
interface = "10.0.0.1"
a = "239.1.1.1:26400"
b = "239.1.1.2:26400"
repair = "10.0.0.1:9100"
[[symbol]]
name = "AAPL"
[[symbol]]
name = "MSFT"
[[firm]]
name = "F00"
[[account]]
name = "A00"
firm = "F00"
cash = "1000000.00"
shares = 1000
[[session]]
user = "FIRM00"
firm = "F00"
account = "A00"
key = "0101010101010101010101010101010101010101010101010101010101010101"
allow = ["10.0.0.0/8"]
"#;

fn config(dir: &Path, text: &str) -> Config {
    Config::parse(&dir.join("rialto.toml"), text).unwrap_or_else(|e| panic!("{e}"))
}

/// What stands around one life of the venue's process.
fn surroundings(
    config: &Config,
    dir: &Path,
    network: &MemoryNetwork,
    clock: &ManualClock,
) -> Surroundings<ManualClock> {
    let feed = &config.feed;
    Surroundings {
        clock: clock.clone(),
        storage: rialto::store::files(),
        hot: dir.join("hot"),
        ports: Ports {
            gateway: AnyPort::Memory(network.bind(config.gateway.listen).unwrap()),
            feed: AnyPort::Memory(network.multicast_sender(feed.interface).unwrap()),
            repair: AnyPort::Memory(network.bind(feed.repair).unwrap()),
        },
        entropy: Entropy::seeded(clock.now().0),
    }
}

fn run(venue: &mut Assembly, clock: &ManualClock, ns: u64) {
    let end = clock.now().plus(ns);
    while clock.now() < end {
        let now = clock.advance(MS);
        for placed in &mut venue.agents {
            placed.agent.duty_cycle(now);
            placed.agent.housekeeping(now);
        }
        if let Some(preparer) = &mut venue.preparer {
            preparer.duty_cycle(now);
        }
    }
}

#[test]
fn a_venue_is_assembled_without_sockets_threads_or_wall_clock() -> Result<(), StartError> {
    let home = tempfile::tempdir().unwrap();
    let config = config(home.path(), TEXT);
    let (network, clock) = (MemoryNetwork::new(), ManualClock::new(MIDNIGHT.plus(9 * HOUR)));
    let start = || assemble(&config, surroundings(&config, home.path(), &network, &clock));
    let mut venue = start()?;
    assert_eq!(venue.facts.commands, 0);
    assert!(venue.facts.day.ends_with("2025-01-02"), "{}", venue.facts.day.display());
    run(&mut venue, &clock, 1_000 * MS);
    assert_eq!(venue.status.phase(), Phase::Open);
    let (genesis, applied) = (venue.genesis.clone(), venue.status.applied());
    assert!(applied > Seq(10), "ticks were sequenced: {applied:?}");
    // The process dies; the next one goes on with the same day.
    drop(venue);
    clock.advance(HOUR);
    let mut venue = start()?;
    assert_eq!(venue.facts.commands, applied.0);
    assert_eq!(venue.genesis, genesis);
    assert_eq!(venue.status.phase(), Phase::Open);
    run(&mut venue, &clock, 1_000 * MS);
    assert!(venue.status.applied().0 > applied.0 + 9);
    Ok(())
}
