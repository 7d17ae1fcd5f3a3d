//! `rialto demo --days N`: the exchange rolls under its own power, and what must survive a day's end
//! is held against what must not.
//!
//! Brokers and subscribers are the same processes and connections throughout. Expected cash and
//! shares come from the brokers' reports alone, from the configured opening on.

use super::desks::{DeskDay, Desks, ReportDigest, Tally};
use super::interrupt::Interrupt;
use super::judge::Seen;
use super::plan::{CASH, Plan, QUANTITY_MAX, SHARES, user};
use super::viewer::{Viewed, Viewer};
use crate::cli::mirror::{SessionLog, SessionSeen};
use crate::cli::text::{grouped, money, say};
use anyhow::{Context, bail};
use rialto::broker::LoggedIn;
use rialto::clock::{Clock, SystemClock};
use rialto::exchange::Exchange as State;
use rialto::exchange::genesis::Genesis;
use rialto::gateway::report_of;
use rialto::publisher::feed;
use rialto::replay::{Until, genesis, replay};
use rialto::store::DayView;
use rialto::types::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One day as the outside knows it.
pub struct Day {
    /// Its directory.
    pub dir: PathBuf,
    /// The brokers.
    pub desks: Vec<DeskDay>,
    /// Messages sent on it.
    pub sent: u64,
    /// Of those, how many had no answer when it was over.
    pub unanswered: u64,
}

/// Waits until every broker has the end of the day; takes their day.
pub fn end(
    dir: PathBuf,
    desks: &mut Desks,
    before: Tally,
    viewer: &Viewer,
    limit_ns: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<Day> {
    let clock = SystemClock::new();
    let since = clock.now();
    while !desks.ended() {
        if desks.poll() == 0 {
            std::thread::yield_now();
        }
        viewer.tell(&desks.tally);
        interrupt.check()?;
        if clock.now().since(since) > limit_ns {
            bail!("not every broker was told the end of the day");
        }
    }
    let sent = desks.tally.sent - before.sent;
    let unanswered = sent - (desks.tally.answered() - before.answered());
    Ok(Day { dir, desks: desks.next_day(), sent, unanswered })
}

/// Cash and shares of an account, by broker.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Holdings {
    cash: i128,
    shares: BTreeMap<Symbol, i64>,
}

/// Figures and faults of all days.
pub struct Outcome {
    /// For `--json`.
    pub json: Value,
    /// What is wrong; empty = the run is good.
    pub faults: Vec<String>,
}

/// Replays every day and compares.
pub fn judge(
    plan: &Plan,
    days: &[Day],
    seen: &Seen,
    viewed: &Viewed,
    path: &str,
) -> anyhow::Result<Outcome> {
    let heard = SessionLog::read(&seen.result["sessions"]).context("sessions in result.json")?;
    let symbols: Vec<Symbol> = plan.symbols.iter().filter_map(|s| Symbol::new(s)).collect();
    let opening = Holdings {
        cash: CASH as i128 * 10_000,
        shares: symbols.iter().map(|&s| (s, SHARES as i64)).collect(),
    };
    let mut expected = vec![opening; days[0].desks.len()];
    let mut faults = Vec::new();
    let mut check = |ok: bool, what: String| {
        if !ok {
            faults.push(what);
        }
        ok
    };
    let whole = heard.0.len() == days.len() && viewed.sessions.0.len() == days.len();
    check(whole, format!("subscribers followed another number of sessions than {}", days.len()));
    check(seen.result["error"].is_null(), "the feed contradicted itself".into());
    check(viewed.error.is_none(), "the feed contradicted itself at the viewer".into());
    check(seen.result["lost"] == 0 && viewed.counters.lost == 0, "market data was lost".into());
    let mut rows: Vec<Value> = Vec::new();
    for (at, day) in days.iter().enumerate() {
        let told = Told::read(day)?;
        let name = &told.session;
        let n = at + 1;
        let opened = check(
            opens_with(&told.genesis, &expected),
            format!("day {n} does not open with the cash and shares that the brokers worked out"),
        );
        let limits = check(
            told.genesis.accounts.iter().all(|a| a.limits.order_quantity_max == QUANTITY_MAX),
            format!("day {n} opens with other limits"),
        );
        for (holdings, desk) in expected.iter_mut().zip(&day.desks) {
            holdings.add(desk);
        }
        let closed = check(
            ends_with(&told.state, &expected),
            format!("day {n} ends with other cash or shares than the brokers worked out"),
        );
        let anew = check(
            day.desks.iter().enumerate().all(|(slot, d)| begins_anew(d.login.as_ref(), slot, name)),
            format!("day {n}: a session's numbers do not start anew"),
        );
        check(
            day.unanswered == 0,
            format!("day {n} ended and {} messages have no answer", day.unanswered),
        );
        check(told.state.day_over(), format!("day {n} is not over in its log"));
        check(told.verified, format!("day {n}: the event log lacks events"));
        let reports: Vec<ReportDigest> = day.desks.iter().map(|d| d.reports).collect();
        let reports_equal = check(
            told.reports == reports,
            format!("day {n}: brokers hold other reports than those in the log"),
        );
        let feed_equal = [heard.0.get(at), viewed.sessions.0.get(at)]
            .into_iter()
            .all(|session| session == Some(&told.feed));
        check(
            feed_equal,
            format!("day {n}: a subscriber's session is not the log's, from message 1 to its end"),
        );
        let moved: u64 = day.desks.iter().map(|d| shares_bought(d, &symbols)).sum();
        rows.push(json!({
            "day": day.dir.file_name().map(|n| n.to_string_lossy().into_owned()),
            "session": told.session.text(),
            "orders_sent": day.sent,
            "unanswered": day.unanswered,
            "shares_traded": moved,
            "expired": told.expired,
            "feed_first": told.feed.first,
            "feed_messages": told.feed.messages,
            "opening_equal": opened,
            "closing_equal": closed,
            "limits_equal": limits,
            "numbers_anew": anew,
            "reports_equal": reports_equal,
            "feed_equal": feed_equal,
            "state_hash": format!("{:016x}", told.state.state_hash()),
            "commands": told.commands,
        }));
    }
    let names: std::collections::BTreeSet<&str> =
        rows.iter().filter_map(|row| row["session"].as_str()).collect();
    check(names.len() == days.len(), "two days have the same session name".into());
    let cash: Vec<String> =
        expected.iter().map(|h| u64::try_from(h.cash).map_or("below 0".into(), money)).collect();
    Ok(Outcome { json: json!({ "path": path, "days": rows, "cash": cash }), faults })
}

/// A day as its log says.
struct Told {
    genesis: Genesis,
    state: State,
    session: SessionName,
    reports: Vec<ReportDigest>,
    feed: SessionSeen,
    expired: u64,
    commands: u64,
    verified: bool,
}

impl Told {
    fn read(day: &Day) -> anyhow::Result<Told> {
        let view = DayView::open(&day.dir)?;
        let genesis = genesis(&view)?;
        let midnight = genesis.midnight;
        let session = genesis.feed_session();
        let mut reports = vec![ReportDigest::default(); day.desks.len()];
        let mut log = SessionLog::default();
        log.begin(session);
        let mut expired = 0;
        let done = replay(
            &view,
            Until::End,
            true,
            |time, event| {
                let mut bytes = [0; 64];
                if let Some(message) = feed::message(event, time, midnight) {
                    let len = message.encode(&mut bytes);
                    log.message(event.head.feed, &bytes[..len]);
                }
                if let Some(report) = report_of(event, time.since(midnight)) {
                    if let rialto::wire::ouch::Outbound::Canceled(c) = &report {
                        expired += u64::from(c.reason == b'E');
                    }
                    if let Some(digest) = reports.get_mut(event.head.session.0 as usize) {
                        digest.take(&report);
                    }
                }
            },
            |_| {},
        )?;
        log.end(done.feed_next);
        Ok(Told {
            genesis,
            session,
            reports,
            feed: log.0.remove(0),
            expired,
            commands: done.seq.0,
            verified: done.verified == done.events,
            state: done.exchange,
        })
    }
}

impl Holdings {
    /// What the executions of a day moved.
    fn add(&mut self, day: &DeskDay) {
        for (&symbol, shares) in &mut self.shares {
            let position = day.own.position(symbol);
            *shares += position.net();
            self.cash += position.cash();
        }
    }
}

fn shares_bought(day: &DeskDay, symbols: &[Symbol]) -> u64 {
    symbols.iter().map(|&s| day.own.position(s).bought).sum()
}

fn opens_with(genesis: &Genesis, expected: &[Holdings]) -> bool {
    let symbol = |l: Locate| genesis.symbols[l.0 as usize - 1].symbol;
    genesis.accounts.len() == expected.len()
        && genesis.accounts.iter().zip(expected).all(|(account, expected)| {
            let shares = account.positions.iter().map(|&(l, n)| (symbol(l), n as i64)).collect();
            Holdings { cash: account.cash.0 as i128, shares } == *expected
        })
}

fn ends_with(state: &State, expected: &[Holdings]) -> bool {
    let symbol = |l: Locate| state.genesis().symbols[l.0 as usize - 1].symbol;
    (0u16..).zip(expected).all(|(slot, expected)| {
        let Some(view) = state.account(AccountSlot(slot)) else { return false };
        let held = view.cash_held.0 + view.positions.iter().map(|p| p.held).sum::<u64>();
        let shares = view.positions.iter().map(|p| (symbol(p.locate), p.free as i64)).collect();
        held == 0 && Holdings { cash: view.cash_free.0 as i128, shares } == *expected
    })
}

/// First login of a day, under that day's name, references and messages from 1, report 1 being all
/// there is.
fn begins_anew(login: Option<&LoggedIn>, slot: usize, feed: &SessionName) -> bool {
    login.is_some_and(|l| {
        let name = format!("{:<6}{}", user(slot), &feed.text()[6..]);
        (l.next_urn, l.applied, l.generation, l.next_report) == (1, 0, 1, 2)
            && l.name.text() == name
    })
}

impl Outcome {
    /// In words, for somebody who sees it for the first time.
    pub fn print(&self) {
        let n = |v: &Value| grouped(v.as_u64().unwrap_or(0));
        let is = |v: &Value, good: &'static str, bad: &'static str| {
            if *v == true { good } else { bad }
        };
        say!("");
        for row in self.json["days"].as_array().into_iter().flatten() {
            let text = |key: &str| row[key].as_str().unwrap_or("").to_string();
            say!("Day {}, session {}:", text("day"), text("session"));
            say!(
                "  opens with cash and shares {} the brokers' own sums, and the limits {}",
                is(&row["opening_equal"], "equal to", "OTHER THAN"),
                is(&row["limits_equal"], "configured", "CHANGED")
            );
            say!(
                "  references, messages, reports and logins {}; the feed from message {}",
                is(&row["numbers_anew"], "start at 1", "DO NOT START AT 1"),
                row["feed_first"]
            );
            say!(
                "  {} messages sent, {} shares traded; {} orders expired at the end, what they held is free",
                n(&row["orders_sent"]),
                n(&row["shares_traded"]),
                n(&row["expired"])
            );
            say!(
                "  ends with cash and shares {} the brokers' sums; reports {}; {} feed messages {} at both subscribers",
                is(&row["closing_equal"], "equal to", "OTHER THAN"),
                is(&row["reports_equal"], "as in the log", "OTHER THAN THE LOG'S"),
                n(&row["feed_messages"]),
                is(&row["feed_equal"], "whole", "NOT WHOLE")
            );
            say!("  {} commands replayed; state hash {}", n(&row["commands"]), text("state_hash"));
        }
        let cash = self.json["cash"].as_array().into_iter().flatten();
        let cash: Vec<&str> = cash.filter_map(Value::as_str).collect();
        say!("Cash at the last day's end: {}", cash.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rialto::config::Config;
    use std::path::Path;

    fn genesis() -> Genesis {
        let text = include_str!("../../../rialto.toml");
        let config = Config::parse(Path::new("rialto.toml"), text).unwrap();
        config.genesis(Nanos(1), b'A', 1)
    }

    fn holdings(genesis: &Genesis) -> Vec<Holdings> {
        let symbols: Vec<Symbol> = genesis.symbols.iter().map(|s| s.symbol).collect();
        let of = |a: &rialto::exchange::genesis::AccountSpec| Holdings {
            cash: a.cash.0 as i128,
            shares: a
                .positions
                .iter()
                .map(|&(l, n)| (symbols[l.0 as usize - 1], n as i64))
                .collect(),
        };
        genesis.accounts.iter().map(of).collect()
    }

    #[test]
    fn one_unit_of_cash_or_one_share_is_a_fault() {
        let genesis = genesis();
        let right = holdings(&genesis);
        assert!(opens_with(&genesis, &right));
        let mut wrong = right.clone();
        wrong[1].cash -= 1;
        assert!(!opens_with(&genesis, &wrong));
        let mut wrong = right.clone();
        *wrong[0].shares.values_mut().next().unwrap() += 1;
        assert!(!opens_with(&genesis, &wrong));
        assert!(!opens_with(&genesis, &right[1..]));
        // An exchange that was only built is as it opens.
        let state = State::new(&genesis).unwrap();
        assert!(ends_with(&state, &right));
        assert!(!ends_with(&state, &wrong));
    }

    #[test]
    fn a_number_that_goes_on_is_a_fault() {
        let feed = SessionName::new("RIALTOA007").unwrap();
        let login = LoggedIn {
            gateway: "127.0.0.1:1".parse().unwrap(),
            name: SessionName::new("BRK002A007").unwrap(),
            next_report: 2,
            applied: 0,
            next_urn: 1,
            dead_time_ms: 5_000,
            cancel_on_disconnect: false,
            packet_mac: false,
            epoch: 1,
            generation: 1,
        };
        assert!(begins_anew(Some(&login), 1, &feed));
        assert!(!begins_anew(None, 1, &feed));
        assert!(!begins_anew(Some(&login), 0, &feed));
        for wrong in [
            LoggedIn { next_report: 3, ..login },
            LoggedIn { applied: 1, ..login },
            LoggedIn { next_urn: 2, ..login },
            LoggedIn { generation: 2, ..login },
            LoggedIn { name: SessionName::new("BRK002A006").unwrap(), ..login },
        ] {
            assert!(!begins_anew(Some(&wrong), 1, &feed), "{wrong:?}");
        }
    }
}
