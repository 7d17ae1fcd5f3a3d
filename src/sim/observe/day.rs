//! One day's observers together: what reached the exchange, what its logs say, what left.
//!
//! Consumes datagrams in order of time and, at each check, a view of the logs; produces faults. The
//! order within a check matters: what came in, the commands, their events, then what left.

use super::feed::{FeedPath, FeedWatch};
use super::ledger::Ledger;
use super::refusals::Refusals;
use super::seen::{Believed, Concluded, Delivered, Mirrored};
use super::session::SessionWatch;
use super::upstream::{Challenges, Upstream};
use super::window::Window;
use super::{Faults, Sent};
use crate::broker::SettledBy;
use crate::exchange::command::{Command, MessageHead, Phase, Verdict};
use crate::exchange::event::{Event, EventBody, NO_SESSION};
use crate::exchange::genesis::Genesis;
use crate::sim::{GATEWAY, GROUP_A, GROUP_B, REPAIR};
use crate::store::DayView;
use crate::types::*;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

const MS: u64 = 1_000_000;
/// Time between two Ticks.
const TICK_NS: u64 = 100 * MS;
/// So much later is not late.
const SLACK_NS: u64 = 10 * MS;
/// Datagrams of one receive burst at most.
const BURST: usize = 64;

/// A session's rate, modelled: tokens in billionths.
#[derive(Clone, Copy)]
struct Tokens {
    level: u128,
    last: Nanos,
    /// The second bucket, of twice the rate and burst.
    flood: u128,
    /// Messages received at `last`: a datagram takes no more than a full second bucket holds.
    at_once: u128,
}

/// One day.
pub struct DayWatch {
    /// Directory of its logs.
    pub dir: PathBuf,
    disk: bool,
    keys: Vec<[u8; 32]>,
    rate: (u32, u32),
    /// Times in the logs are the world's.
    clocks_agree: bool,
    upstream: Upstream,
    refusals: Refusals,
    /// Generation under which each session is bound after the last command read.
    bound: Vec<Option<u32>>,
    windows: Vec<Window>,
    /// Both logs.
    pub ledger: Ledger,
    sessions: Vec<SessionWatch>,
    feed: Option<FeedWatch>,
    tokens: Vec<Tokens>,
    /// What left and was not judged yet.
    sent: Vec<Sent>,
    up_since: Nanos,
    last_tick: Option<Nanos>,
    open_at: Nanos,
    opened: bool,
    /// Session and client sequence of each command that is a message.
    causes: Vec<Option<(SessionSlot, u64)>>,
    mirrored: Vec<Mirrored>,
    believed: Vec<Believed>,
    delivered: Vec<Delivered>,
    concluded: Vec<Concluded>,
    over: bool,
    /// Messages sequenced since the last check.
    arrived: Vec<(u64, MessageHead)>,
    /// Datagrams that the gateway received at the last times.
    bursts: VecDeque<(Nanos, usize)>,
    /// By session: the last numbers that were passed over, and when their successor was received.
    passed_over: Vec<(Nanos, std::ops::Range<u64>)>,
    /// Most messages that anybody asked to be repaired from a number on.
    asked: BTreeMap<(std::net::SocketAddrV4, u64), u16>,
}

fn shifted(number: u64, byte: &u8) -> u64 {
    number << 8 | *byte as u64
}

/// What a day's watch must know beforehand.
pub struct Scene {
    /// Level disk.
    pub disk: bool,
    /// Login keys by slot.
    pub keys: Vec<[u8; 32]>,
    /// Messages per second and burst.
    pub rate: (u32, u32),
    /// No clock is ever stepped.
    pub clocks_agree: bool,
    /// The market opens then; 0 = at once.
    pub open_at: Nanos,
}

impl DayWatch {
    /// Nothing seen yet.
    pub fn new(dir: PathBuf, scene: &Scene) -> DayWatch {
        DayWatch {
            dir,
            disk: scene.disk,
            keys: scene.keys.clone(),
            rate: scene.rate,
            clocks_agree: scene.clocks_agree,
            upstream: Upstream::default(),
            refusals: Refusals::default(),
            bound: vec![None; scene.keys.len()],
            windows: scene.keys.iter().map(|_| Window::default()).collect(),
            ledger: Ledger::default(),
            sessions: Vec::new(),
            feed: None,
            tokens: Vec::new(),
            sent: Vec::new(),
            up_since: Nanos(0),
            last_tick: None,
            open_at: scene.open_at,
            opened: false,
            causes: Vec::new(),
            mirrored: Vec::new(),
            believed: Vec::new(),
            delivered: Vec::new(),
            concluded: Vec::new(),
            over: false,
            arrived: Vec::new(),
            bursts: VecDeque::new(),
            passed_over: vec![(Nanos(0), 0..0); scene.keys.len()],
            asked: BTreeMap::new(),
        }
    }

    /// The exchange serves (again).
    pub fn up(&mut self, now: Nanos) {
        self.up_since = now;
        self.last_tick = None;
        self.fill_tokens();
        self.refusals.up();
        self.windows.iter_mut().for_each(Window::restart);
        self.sessions.iter_mut().for_each(|s| s.up(now));
        if let Some(feed) = &mut self.feed {
            feed.excuse(now);
        }
    }

    fn fill_tokens(&mut self) {
        let level = self.rate.1.max(1) as u128 * 1_000_000_000;
        let tokens = Tokens { level, last: Nanos(0), flood: 2 * level, at_once: 0 };
        self.tokens = vec![tokens; self.keys.len()];
    }

    /// The gateway received a datagram.
    pub fn received(&mut self, from: std::net::SocketAddrV4, bytes: &[u8], at: Nanos) {
        match self.bursts.back_mut() {
            Some((last, count)) if *last == at => *count += 1,
            _ => self.bursts.push_back((at, 1)),
        }
        self.upstream.received(from, bytes, at);
        self.refusals.received(from, bytes, at);
        self.sessions.iter_mut().for_each(|s| s.asked(from, bytes));
    }

    /// The repair service received a datagram.
    pub fn asked(&mut self, from: std::net::SocketAddrV4, bytes: &[u8]) {
        if let Some((head, blocks)) = super::bytes::packet(bytes)
            && blocks.is_empty()
        {
            let most = self.asked.entry((from, head.sequence)).or_insert(0);
            *most = head.count.max(*most);
        }
    }

    /// The exchange sent a datagram.
    pub fn sent(&mut self, sent: Sent) {
        self.sent.push(sent);
    }

    /// What actors wrote down; entries of other days are dropped by their names.
    pub fn take(
        &mut self,
        delivered: &[Delivered],
        concluded: &[Concluded],
        mirrored: &[Mirrored],
        believed: &[Believed],
    ) {
        self.delivered.extend_from_slice(delivered);
        self.concluded.extend_from_slice(concluded);
        self.mirrored.extend_from_slice(mirrored);
        self.believed.extend_from_slice(believed);
    }

    /// Reads the logs on and judges everything since the last check.
    pub fn check(
        &mut self,
        view: &DayView,
        challenges: &Challenges,
        end: bool,
        now: Nanos,
        faults: &mut Faults,
    ) {
        self.read_commands(view, challenges, faults);
        self.read_events(view, faults);
        self.judge_sent(now, faults);
        self.judge_duplicates(faults);
        self.bursts.clear();
        if end {
            self.ledger.digest_now();
        }
        self.judge_seen(end, faults);
        for session in &self.sessions {
            if let Err(what) = session.reports.beyond() {
                faults.add("an acknowledged report is not in the log", what);
            }
        }
        let Some(feed) = &self.feed else { return };
        if let Err(what) = feed.messages.beyond() {
            faults.add("a feed message is not in the log", what);
        }
        if end {
            feed.finish(faults);
            if self.ledger.naive().is_some_and(|naive| naive.continue_wanted()) {
                faults.add("a mass cancel was not finished", String::new());
            }
            if self.ledger.owed() > 0 {
                let what = format!("{} events are missing", self.ledger.owed());
                faults.add("the event log does not say what the commands make", what);
            }
        }
    }

    fn read_commands(&mut self, view: &DayView, challenges: &Challenges, faults: &mut Faults) {
        let mut ledger = std::mem::take(&mut self.ledger);
        ledger.read_commands(view, faults, |seq, kept, command, made, faults| {
            self.on_command(seq, kept.time, command, made, challenges, faults);
        });
        self.ledger = ledger;
        if self.sessions.is_empty()
            && let Some(genesis) = &self.ledger.genesis
        {
            self.begin(&genesis.clone());
        }
    }

    fn begin(&mut self, genesis: &Genesis) {
        for (i, key) in self.keys.iter().enumerate().take(genesis.sessions.len()) {
            let slot = SessionSlot(i as u16);
            let name = genesis.downstream_name(slot).unwrap_or_default();
            self.sessions.push(SessionWatch::new(slot, name, *key));
        }
        self.feed = Some(FeedWatch::new(genesis.feed_session()));
    }

    fn on_command(
        &mut self,
        seq: u64,
        time: Nanos,
        command: &Command<'_>,
        made: &[Event],
        challenges: &Challenges,
        faults: &mut Faults,
    ) {
        let rule = "a command that no client sent";
        self.causes.push(match command {
            Command::Message(head, _) => Some((head.session, head.client_seq)),
            _ => None,
        });
        match command {
            Command::Message(head, body) => {
                self.arrived.push((seq, *head));
                self.judge_window(seq, head, faults);
                self.judge_order(seq, head, made, faults);
                match self.upstream.check_message(head, body) {
                    Err(what) => faults.add(rule, format!("command {seq}: {what}")),
                    Ok(well_formed) => self.judge_verdict(seq, head, well_formed, faults),
                }
            }
            Command::Login(login) => {
                let slot = login.session.0 as usize;
                let Some(key) = self.keys.get(slot).copied() else {
                    return faults.add(rule, format!("command {seq}: {login:?}"));
                };
                let user = crate::sim::user(slot);
                let checked = self.upstream.check_login(login, user, &key, GATEWAY, challenges);
                if let Err(what) = checked {
                    faults.add(rule, format!("command {seq}: {what}"));
                }
                if made.iter().any(|e| matches!(e.body, EventBody::LoggedIn(_))) {
                    self.upstream.bind(login, &key);
                }
            }
            Command::Logoff(m) => {
                if let Err(what) = self.upstream.check_logoff(m) {
                    faults.add(rule, format!("command {seq}: {what}"));
                }
                // One that is not the next is answered with K and fills no log.
                let effective = made.iter().any(|e| matches!(e.body, EventBody::SessionEnded(_)));
                let bound = self.bound.get(m.session.0 as usize).copied().flatten();
                if bound == Some(m.generation) && !effective {
                    faults.add("a logoff with a wrong number", format!("command {seq}: {m:?}"));
                }
            }
            Command::SessionDown(m) => {
                let effective = made.iter().any(|e| matches!(e.body, EventBody::SessionEnded(_)));
                if effective && self.clocks_agree {
                    self.judge_down(seq, time, m.session, m.generation, faults);
                }
            }
            Command::Tick => self.judge_tick(seq, time, faults),
            Command::Phase(Phase::Open) if !self.opened => {
                self.opened = true;
                if self.clocks_agree && time < self.open_at {
                    let what = format!("command {seq} at {}, due at {}", time.0, self.open_at.0);
                    faults.add("the market opened too early", what);
                }
                let due = self.open_at.max(self.up_since).plus(50 * MS);
                if self.clocks_agree && time > due && !faults.excused(self.up_since, time) {
                    let what = format!("command {seq} at {}, due at {}", time.0, due.0);
                    faults.add("the market opened too late", what);
                }
            }
            Command::EndOfDay => self.over = true,
            _ => {}
        }
        for event in made {
            let slot = event.head.session.0 as usize;
            let (Some(bound), Some(window)) =
                (self.bound.get_mut(slot), self.windows.get_mut(slot))
            else {
                continue;
            };
            window.applied(time, event.head.applied);
            match &event.body {
                EventBody::LoggedIn(m) => {
                    *bound = Some(m.generation);
                    window.restart();
                }
                EventBody::SessionEnded(_) => *bound = None,
                _ => {}
            }
        }
    }

    /// Of one burst a session's datagrams are taken in order: what came with it is not passed over.
    fn judge_order(&mut self, seq: u64, head: &MessageHead, made: &[Event], faults: &mut Faults) {
        let Some((at, numbers)) = self.passed_over.get_mut(head.session.0 as usize) else { return };
        if self.clocks_agree && *at == head.received && numbers.contains(&head.client_seq) {
            let burst = self.bursts.iter().find(|(at, _)| *at == head.received);
            // More than one burst may bear the same time.
            if burst.is_some_and(|(_, count)| *count <= BURST) {
                let what = format!("command {seq}: {head:?}, passed over {numbers:?}");
                faults.add("a burst was not taken in order", what);
            }
        }
        for event in made {
            if let EventBody::NotApplied(m) = &event.body
                && m.from < head.client_seq
            {
                (*at, *numbers) = (head.received, m.from..head.client_seq);
            }
        }
    }

    /// A client that does not wait is dropped before it is sequenced.
    fn judge_window(&mut self, seq: u64, head: &MessageHead, faults: &mut Faults) {
        let slot = head.session.0 as usize;
        if !self.clocks_agree || self.bound.get(slot) != Some(&Some(head.generation)) {
            return;
        }
        if let Some(count) = self.windows[slot].message(head.received, head.client_seq) {
            let what = format!("command {seq}: {count} under way: {head:?}");
            faults.add("too much is under way", what);
        }
    }

    /// What was said to be applied is not sequenced again: a replay flood fills no log.
    fn judge_duplicates(&mut self, faults: &mut Faults) {
        for (seq, head) in std::mem::take(&mut self.arrived) {
            let Some(session) = self.sessions.get(head.session.0 as usize) else { continue };
            let applied = session.said_applied(head.received);
            if self.clocks_agree && head.client_seq <= applied {
                let what = format!("command {seq}: {head:?}, K had said {applied}");
                faults.add("a duplicate reached the log", what);
            }
        }
    }

    /// One token per block that was sequenced; the verdict says whether there was one.
    fn judge_verdict(
        &mut self,
        seq: u64,
        head: &MessageHead,
        well_formed: bool,
        faults: &mut Faults,
    ) {
        let expected = if well_formed { Verdict::Ok } else { Verdict::Malformed };
        let Some(tokens) = self.tokens.get_mut(head.session.0 as usize) else { return };
        let (per_second, burst) = (self.rate.0.max(1) as u128, self.rate.1.max(1) as u128);
        let gained = head.received.since(tokens.last) as u128 * per_second;
        tokens.level = (tokens.level + gained).min(burst * 1_000_000_000);
        tokens.flood = (tokens.flood + 2 * gained).min(2 * burst * 1_000_000_000);
        tokens.at_once = if head.received > tokens.last { 1 } else { tokens.at_once + 1 };
        tokens.last = tokens.last.max(head.received);
        if tokens.at_once <= 2 * burst {
            if tokens.flood < 1_000_000_000 {
                faults.add("a flood reached the log", format!("command {seq}: {head:?}"));
            }
            tokens.flood = tokens.flood.saturating_sub(1_000_000_000);
        }
        let there = tokens.level >= 1_000_000_000;
        if there {
            tokens.level -= 1_000_000_000;
        }
        let expected = if there { expected } else { Verdict::Throttled };
        if head.verdict != expected as u8 {
            let what = format!("command {seq}: expected {expected:?}, got {head:?}");
            faults.add("a block has the wrong verdict", what);
        }
    }

    /// A session ends only after its dead time.
    fn judge_down(
        &self,
        seq: u64,
        time: Nanos,
        slot: SessionSlot,
        generation: u32,
        faults: &mut Faults,
    ) {
        let Some(session) = self.sessions.get(slot.0 as usize) else { return };
        let Some((bound, dead_ns, since)) = session.binding(time) else { return };
        // What was heard while the command was under way is another matter.
        let until = Nanos(time.0.saturating_sub(50 * MS));
        let heard = self.upstream.heard(slot, generation, until).unwrap_or(Nanos(0));
        let heard = heard.max(self.up_since).max(since);
        // Nor does it count that it was heard while the sequencer stood still with it in its ring.
        let early = time.since(heard) + MS < dead_ns && !faults.excused(heard, time);
        if bound == generation && early {
            let (silent, dead) = (time.since(heard) / MS, dead_ns / MS);
            let what =
                format!("command {seq}: session {} was silent for {silent} of {dead} ms", slot.0);
            faults.add("a session was ended too early", what);
        }
    }

    fn judge_tick(&mut self, seq: u64, time: Nanos, faults: &mut Faults) {
        if let Some(last) = self.last_tick.replace(time) {
            let gap = time.since(last);
            let out = gap + SLACK_NS < TICK_NS || gap > TICK_NS + SLACK_NS;
            if out && self.clocks_agree && !faults.excused(last, time) {
                faults.add("a tick is out of time", format!("command {seq}: {} us", gap / 1_000));
            }
        }
    }

    fn read_events(&mut self, view: &DayView, faults: &mut Faults) {
        let Some(midnight) = self.ledger.genesis.as_ref().map(|g| g.midnight) else { return };
        let mut ledger = std::mem::take(&mut self.ledger);
        let causes = std::mem::take(&mut self.causes);
        ledger.read_events(view, faults, |_, kept, event, faults| {
            if let Some(feed) = &mut self.feed {
                feed.on_event(event, kept.time, midnight, faults);
            }
            if event.head.session == NO_SESSION {
                return;
            }
            let cause = causes.get((event.head.command.0 as usize).wrapping_sub(1)).copied();
            let cause = cause.flatten().filter(|c| c.0 == event.head.session).map(|c| c.1);
            if let Some(session) = self.sessions.get_mut(event.head.session.0 as usize) {
                session.on_event(event, kept.time, midnight, (cause, self.clocks_agree), faults);
            }
        });
        self.causes = causes;
        self.ledger = ledger;
    }

    fn judge_sent(&mut self, now: Nanos, faults: &mut Faults) {
        let sent = std::mem::take(&mut self.sent);
        let mut to_feed = Vec::new();
        let mut to_sessions: Vec<Vec<(Nanos, bool)>> = vec![Vec::new(); self.sessions.len()];
        for s in &sent {
            let with_messages = s.bytes.get(18..20).is_some_and(|c| c != [0, 0] && c != [255, 255]);
            if s.local == GATEWAY {
                let disk = self.disk;
                let owner = self.sessions.iter_mut().position(|w| w.on_sent(s, disk, faults));
                if owner.is_none() && s.bytes.starts_with(b"          ") {
                    let Self { refusals, sessions, keys, over, clocks_agree, .. } = self;
                    refusals.judge(s, sessions, keys, (*over, *clocks_agree), faults);
                }
                let head = s.bytes.get(10..20).unwrap_or(&[0; 10]);
                let sequence = head[..8].iter().fold(0, shifted);
                let count = head[8..].iter().fold(0, shifted);
                if let Some(slot) = owner.filter(|_| sequence != 0)
                    && let Some(new) = self.sessions[slot].brings(sequence, count as u16)
                {
                    to_sessions[slot].push((s.at, new));
                }
                continue;
            }
            let Some(feed) = &mut self.feed else { continue };
            let path = match s.peer {
                to if to == GROUP_A => FeedPath::A,
                to if to == GROUP_B => FeedPath::B,
                _ if s.local == REPAIR => FeedPath::Repair,
                _ => continue,
            };
            if path == FeedPath::Repair
                && let Some((head, blocks)) = super::bytes::packet(&s.bytes)
            {
                let asked = self.asked.get(&(s.peer, head.sequence)).copied().unwrap_or(0);
                if blocks.len() > asked as usize {
                    let what = format!("{} got {} from {}", s.peer, blocks.len(), head.sequence);
                    faults.at("more was repaired than was asked for", what, s.at);
                }
            }
            if feed.on_sent(s, path, self.disk, faults) && path != FeedPath::Repair {
                to_feed.push((s.at, path == FeedPath::B, with_messages));
            }
        }
        if !self.clocks_agree {
            return;
        }
        if let Some(feed) = &mut self.feed {
            feed.judge_rhythm(&to_feed, self.up_since, now, faults);
        }
        for (session, sends) in self.sessions.iter_mut().zip(&to_sessions) {
            session.judge_rhythm(sends, now, faults);
            session.judge_pace(now, faults);
        }
    }

    /// What actors wrote down, as far as the logs tell by now.
    fn judge_seen(&mut self, end: bool, faults: &mut Faults) {
        let Some(genesis) = &self.ledger.genesis else { return };
        let name_of = |slot: SessionSlot| genesis.downstream_name(slot);
        for d in std::mem::take(&mut self.delivered) {
            let Some(session) = self.sessions.get_mut(d.slot.0 as usize) else { continue };
            if name_of(d.slot) == Some(d.name)
                && session.reports.get(d.number) != Some(&d.bytes[..])
            {
                let (log, got) = (session.reports.get(d.number), super::stream::hex(&d.bytes));
                let log = log.map(super::stream::hex);
                let what = format!("session {}, report {}: log {log:?}, {got}", d.slot.0, d.number);
                faults.add("a broker got another report than the log has", what);
            }
        }
        for c in std::mem::take(&mut self.concluded) {
            let Some(session) = self.sessions.get(c.slot.0 as usize) else { continue };
            if name_of(c.slot) != Some(c.name) {
                continue;
            }
            let refused = session.was_refused(c.sequence);
            let applied = c.sequence <= session.applied();
            let right = match c.by {
                SettledBy::Applied | SettledBy::Report => applied,
                SettledBy::NotApplied => refused,
                SettledBy::Withdrawn | SettledBy::Unknown => true,
            };
            if !right || c.by == SettledBy::Applied && refused {
                let what = format!("{c:?}: applied {applied}, covered by N {refused}");
                faults.add("a message was concluded wrongly", what);
            }
        }
        let feed_name = genesis.feed_session();
        for m in std::mem::take(&mut self.mirrored) {
            let expected = self.ledger.digests.get(&m.feed).copied();
            let known = expected.is_some() || !m.last;
            if m.session == feed_name && known && expected != Some(m.digest) {
                let what = format!("{m:?}, expected {expected:x?}");
                faults.add("a mirror is not the exchange's book", what);
            }
        }
        let believed = std::mem::take(&mut self.believed);
        let Some(naive) = self.ledger.naive().filter(|_| end) else { return };
        for b in believed {
            let session = naive.session(b.slot).map_or(0, |s| s.next_report);
            if name_of(b.slot) != Some(b.name) || session != b.next_report {
                continue;
            }
            let mut real = Vec::new();
            for i in 0..genesis.symbols.len() as u16 {
                for side in [Side::Buy, Side::Sell] {
                    let orders = naive.orders(Locate(i + 1), side);
                    let own = orders.into_iter().filter(|o| o.session == b.slot);
                    real.extend(own.map(|o| (o.urn, o.order_ref, o.open, o.price)));
                }
            }
            real.sort();
            if real != b.orders {
                let at = real.iter().zip(&b.orders).position(|(a, b)| a != b);
                let at = at.unwrap_or(real.len().min(b.orders.len()));
                let (real, own) = (real.get(at), b.orders.get(at));
                let what = format!("session {}: exchange {real:?}, broker {own:?}", b.slot.0);
                faults.add("a broker's own orders are not the exchange's", what);
            }
        }
    }

    /// No client is bound that has been silent for its dead time and a second.
    pub fn judge_silence(&self, now: Nanos, faults: &mut Faults) {
        if !self.clocks_agree || self.over {
            return;
        }
        for (i, session) in self.sessions.iter().enumerate() {
            let Some((generation, dead_ns, since)) = session.binding(now) else { continue };
            let slot = SessionSlot(i as u16);
            let heard = self.upstream.heard(slot, generation, now).unwrap_or(Nanos(0));
            let heard = heard.max(since).max(self.up_since);
            if now.since(heard) > dead_ns + 1_000 * MS && !faults.excused(heard, now) {
                let what = format!("session {i}: silent for {} ms", now.since(heard) / MS);
                faults.add("a silent session is not ended", what);
            }
        }
    }
}
