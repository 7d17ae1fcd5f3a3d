//! What bad input gets at the gateway: the rows of the design's table that concern sessions, each
//! against a whole venue. After every test the exchange's invariants must hold.
//!
//! Where each kind of bad input has its test:
//!
//! | input | tests |
//! |---|---|
//! | malformed datagram | `malformed_datagrams_change_nothing`, `decoders_survive_mutants`, `the_gateway_survives_mutants` |
//! | unknown session, wrong address | `spoofed_sources_and_foreign_tokens`, `a_spoofed_source_needs_the_token_too`, `a_stolen_downstream_name_yields_nothing` |
//! | malformed message of a logged-in client | `malformed_blocks_by_the_table` |
//! | too fast, too many in flight | `throttle_verdicts`, `a_datagram_longer_than_the_burst_is_throttled_not_dropped_for_ever`, `too_many_uncommitted_messages_are_dropped` |
//! | gap, jump, end of numbers | `gaps_are_told_and_later_blocks_stand`, `sequences_beyond_the_jump_and_near_the_end_of_numbers`, `sequences_near_the_end_of_numbers_move_nothing`, `the_last_reference_is_used_once` |
//! | duplicate | `duplicates_fill_no_log`, `an_order_replayed_a_million_times_is_executed_once`, `reordered_and_half_duplicate_packets_execute_each_order_at_most_once` |
//! | login: wrong, stale, replayed, too many | `logins_that_are_not_valid`, `a_stale_challenge_gets_a_new_one_whatever_else_is_wrong`, `a_replayed_login_logs_nobody_in`, `wrong_keys_ten_thousand_a_second_lock_nobody_out` |
//! | another binding's messages, silence | `orders_of_an_old_generation_are_dead_after_a_takeover`, `a_session_that_falls_silent_takes_nobody_along` |
//! | a client that never reads | `a_client_that_never_reads_holds_up_nobody` |
//! | each reason of Rejected | `each_reason_in_the_order_of_the_checks`, `the_gateway_survives_mutants` (every one must come up) |
//! | tables, arena, rings, tiers full | `full_tables_are_processing_errors_and_immediate_orders_still_pass`, `a_full_ring_stops_the_reading_and_loses_nothing`, `full_when_nothing_can_be_unlinked_and_room_never_lies`, `cancels_only_then_a_halt_then_everything_again` |
//! | repair requests | `a_request_is_answered_by_one_packet_and_anything_else_by_none`, `budgets_and_sources_are_limits`, `the_retransmitter_survives_mutants` |
//! | bad configuration | `every_fault_is_told_at_once_with_file_key_value_and_mend` |
//! | a host that cannot | `a_hot_tier_smaller_than_configured_still_works`, `a_full_disk_stops_the_archive_and_nothing_else_until_it_has_room` |

mod form;
mod load;
mod login;
mod sequence;

use crate::venue::{MS, Options, Venue, client::*};
use rialto::agent::Agent;
use rialto::counters::CounterSet;
use rialto::exchange::command::{Command, Phase};
use rialto::gateway::Rate;
use rialto::net::Port;
use rialto::types::*;
use rialto::wire::ouch::Outbound;
use rialto::wire::session::*;
use std::net::{Ipv4Addr, SocketAddrV4};

fn counter(venue: &Venue, name: &str) -> u64 {
    let mut found = None;
    let sets: [&dyn CounterSet; 3] =
        [&*venue.ingress.counters(), &*venue.egress.counters(), &*venue.replayer.counters()];
    for set in sets {
        set.visit(&mut |n, value| {
            if n == name {
                found = Some(value);
            }
        });
    }
    found.unwrap_or_else(|| panic!("no counter {name}"))
}

fn refused(received: &[Received]) -> Vec<RefusedCode> {
    received
        .iter()
        .filter_map(|r| match r {
            Received::Own(Block::Refused(j)) => Some(j.code),
            _ => None,
        })
        .collect()
}

fn applied(received: &[Received]) -> Vec<(u64, u64)> {
    received
        .iter()
        .filter_map(|r| match r {
            Received::Own(Block::Applied(k)) => Some((k.applied, k.next_report)),
            _ => None,
        })
        .collect()
}

fn rejects(client: &mut RawClient) -> Vec<(u32, u16)> {
    client
        .reports()
        .iter()
        .filter_map(|(_, r)| match r {
            Outbound::Rejected(j) => Some((j.urn.0, j.reason)),
            _ => None,
        })
        .collect()
}

fn not_applied(client: &mut RawClient) -> Vec<(u64, u32)> {
    client
        .reports()
        .iter()
        .filter_map(|(_, r)| match r {
            Outbound::NotApplied(n) => Some((n.from, n.count)),
            _ => None,
        })
        .collect()
}

/// A venue with session 0 logged in, its inbox empty.
fn with_client(options: Options) -> (Venue, RawClient) {
    let mut venue = Venue::with(options);
    let mut client = venue.client(0);
    client.login(&mut venue);
    venue.run(2 * MS);
    client.take();
    (venue, client)
}

/// The table of this page names tests that exist.
#[test]
fn every_row_of_the_table_has_its_tests() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let rows: Vec<&str> =
        include_str!("mod.rs").lines().filter(|l| l.starts_with("//! |")).collect();
    let mut named = 0;
    for row in &rows[2..] {
        let tests: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "a row without a test: {row}");
        for test in tests {
            assert!(
                code.contains(&format!("#[test]\nfn {test}() {{"))
                    || code.contains(&format!("#[test]\n    fn {test}() {{")),
                "no test {test}"
            );
            named += 1;
        }
    }
    assert!(rows.len() >= 16 && named >= 30);
}
