//! Gateway and sequencer on one thread, and on two.

use super::*;
use crate::sequencer::inbound::OWN_BATCH;

/// More blocks in one datagram than are sequenced in one cycle: each is answered once and in order,
/// whether the fields go through a ring or into the log at once.
#[test]
fn either_way_a_datagram_of_many_blocks_is_answered_whole() {
    let apart = r#"
        [[thread]]
        agents = ["ingress"]
        [[thread]]
        agents = ["sequencer", "engine", "publisher", "egress", "timer", "replayer", "retransmitter"]
        [[thread]]
        agents = ["archiver"]
    "#;
    for (joined, threads) in [(true, ""), (false, apart)] {
        let mut world = World::started(config(threads, "/memory/hot"));
        let sequencers =
            world.venue().agents.iter().filter(|a| a.name == AgentName::Sequencer).count();
        assert_eq!(sequencers, usize::from(!joined));
        let queries = OWN_BATCH + 144;
        for _ in 0..queries {
            world.firms[0].broker.query().unwrap();
        }
        world.firms[1].broker.query().unwrap();
        let now = world.clock.now();
        for firm in &mut world.firms {
            firm.broker.flush(now);
        }
        if joined {
            // What was received before is work too: else its thread would sleep over it.
            let front = &mut world.venue.as_mut().unwrap().agents[0].agent;
            let work = [0; 3].map(|_| front.duty_cycle(now));
            assert_eq!(work, [2 + OWN_BATCH, OWN_BATCH, queries + 1 - 2 * OWN_BATCH]);
        }
        // One report stands before: that the market is open.
        world.run_until(2 * S, |w| {
            w.firms[0].reports.len() == queries + 1 && w.firms[1].reports.len() == 2
        });
        world.firms[0].check();
        assert!(world.firms.iter().all(|f| f.not_applied() == 0 && f.disconnects == 0));
        // The datagram was too much for one cycle where the log is written at once.
        let ingress = world.venue().counters.iter().find(|c| c.agent() == "gateway_ingress");
        let mut waited = 0;
        ingress.unwrap().visit(&mut |name, value| {
            if name == "no_room" {
                waited = value;
            }
        });
        assert_eq!(waited > 0, joined);
    }
}
