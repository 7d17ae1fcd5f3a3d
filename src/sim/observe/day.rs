//! One day's observers together: what reached the exchange, what its logs say, what left.
//!
//! Consumes datagrams in order of time and, at each check, a view of the logs; produces faults. The
//! order within a check matters: what came in, the commands, their events, then what left.

use super::feed::{FeedPath, FeedWatch};
use super::hours::Hours;
use super::intake::Intake;
use super::ledger::Ledger;
use super::notes::Notes;
use super::polls::Polls;
use super::rate::Tokens;
use super::refusals::Refusals;
use super::repairs::Repairs;
use super::scene::Scene;
use super::session::SessionWatch;
use super::upstream::{Challenges, PassedOver, Taken, Upstream};
use super::window::Window;
use super::{Deaf, Faults, Sent};
use crate::exchange::command::{Command, Login, Logoff, MessageHead, SessionDown, Verdict};
use crate::exchange::event::{Event, EventBody, NO_SESSION};
use crate::exchange::genesis::Genesis;
use crate::sim::{GATEWAY, GROUP_A, GROUP_B, REPAIR};
use crate::store::DayView;
use crate::types::*;
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::path::PathBuf;

const MS: u64 = 1_000_000;
/// The rule of everything that stands in the log for a client.
const UNSENT: &str = "a command that no client sent";
/// Datagrams of one receive burst at most.
const BURST: usize = 64;
/// Who sends so few messages in two seconds is dropped for no rate and no window.
const FEW: u64 = 400;
/// Numbers behind the first that was passed over in which one that had come is looked for.
const NEAR: u64 = 1_000;
/// The end of a silent session is said again so much later at the earliest.
const DOWN_AGAIN_NS: u64 = 150 * MS;
/// No client sequence is dropped for being so far above what was said to be applied.
const JUMP: u64 = 60_000;
/// A login's time may be off by so much.
const LOGIN_TIME_NS: u64 = 5_000 * MS;
/// Of a login that was sequenced so long ago, the gateway knows.
const LOGIN_KNOWN_NS: u64 = 200 * MS;
/// A login or logoff that is repeated within so long is under way.
const UNDER_WAY_NS: u64 = 100 * MS;
/// Nobody could be heard for so long before silence does not count.
const STALL_NS: u64 = 210 * MS;

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
    /// Client's time in each session's last login, and the time of that command.
    login_times: Vec<(Nanos, Nanos)>,
    windows: Vec<Window>,
    /// By session: generation of the last login that was sequenced, and when it came; the last logoff.
    logins: Vec<(u32, Nanos)>,
    logoffs: Vec<Option<Logoff>>,
    /// When the sessions were told that the day is over.
    marked: Option<Nanos>,
    /// Both logs.
    pub ledger: Ledger,
    sessions: Vec<SessionWatch>,
    feed: Option<FeedWatch>,
    tokens: Vec<Tokens>,
    /// What left and was not judged yet.
    sent: Vec<Sent>,
    hours: Hours,
    /// Session and client sequence of each command that is a message.
    causes: Vec<Option<(SessionSlot, u64)>>,
    /// What actors wrote down; entries of other days are dropped by their names.
    pub notes: Notes,
    /// Messages sequenced since the last check.
    arrived: Vec<(u64, MessageHead)>,
    /// The last SessionDown of each session: generation and time.
    downs: Vec<Option<(u32, Nanos)>>,
    /// Datagrams that the gateway received at the last times.
    bursts: VecDeque<(Nanos, usize)>,
    /// By session: the last numbers that were passed over, and when their successor was received.
    passed_over: Vec<(Nanos, std::ops::Range<u64>)>,
    repairs: Repairs,
    reports_kept: u64,
    intake: Intake,
    /// Requests for reports or repair that were taken from a port and not looked at yet.
    requests: VecDeque<Request>,
    /// Messages of bound clients, the same.
    taken: VecDeque<Taken>,
    /// The exchange stopped then, and was not up again.
    stopped: Option<Nanos>,
    /// Since then its machine was without power.
    power_lost: bool,
    /// The day was closed then, having been served for so long.
    closed: Option<(Nanos, u64)>,
    polls: Polls,
}

/// A datagram of 20 bytes that asks for something again, perhaps with a MAC.
struct Request {
    at: Nanos,
    from: SocketAddrV4,
    bytes: Box<[u8]>,
    repair: bool,
}

fn shifted(number: u64, byte: &u8) -> u64 {
    number << 8 | *byte as u64
}

/// What an account has between two days.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Estate {
    name: AccountName,
    cash: u64,
    shares: Vec<(Locate, u64)>,
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
            login_times: vec![(Nanos(0), Nanos(0)); scene.keys.len()],
            windows: scene.keys.iter().map(|_| Window::default()).collect(),
            logins: vec![(0, Nanos(0)); scene.keys.len()],
            logoffs: vec![None; scene.keys.len()],
            marked: None,
            ledger: Ledger::default(),
            sessions: Vec::new(),
            feed: None,
            tokens: Vec::new(),
            sent: Vec::new(),
            hours: Hours::new(scene),
            causes: Vec::new(),
            notes: Notes::default(),
            arrived: Vec::new(),
            downs: vec![None; scene.keys.len()],
            bursts: VecDeque::new(),
            passed_over: vec![(Nanos(0), 0..0); scene.keys.len()],
            repairs: Repairs::new(scene.repair_rate),
            reports_kept: scene.reports_kept,
            intake: Intake::default(),
            requests: VecDeque::new(),
            taken: VecDeque::new(),
            stopped: None,
            power_lost: false,
            closed: None,
            polls: Polls::default(),
        }
    }

    /// No more faults; the operator lets days last from here on.
    pub fn heal(&mut self) {
        self.hours.heal();
    }

    /// The exchange comes up with so many commands, by a start that began then.
    pub fn starts(&mut self, commands: u64, begun: Nanos) {
        self.hours.starts(commands, begun);
    }

    /// The exchange does not run any more; perhaps its machine has no power.
    pub fn stops(&mut self, now: Nanos, power_lost: bool) {
        self.stopped.get_or_insert(now);
        self.power_lost |= power_lost;
    }

    /// The day is closed, as its end was told `linger_ns` before.
    pub fn closes(&mut self, now: Nanos, linger_ns: u64) {
        self.closed = Some((now, linger_ns));
    }

    /// The exchange serves (again).
    pub fn up(&mut self, now: Nanos) {
        self.stopped = None;
        self.closed = None;
        self.hours.up(now);
        self.tokens = vec![Tokens::full(self.rate); self.keys.len()];
        self.refusals.up();
        self.repairs.up(now);
        self.intake.up();
        self.windows.iter_mut().for_each(Window::restart);
        self.sessions.iter_mut().for_each(|s| s.up(now));
        if let Some(feed) = &mut self.feed {
            feed.excuse(now, self.power_lost);
        }
        self.power_lost = false;
    }

    /// The gateway received a datagram.
    pub fn received(&mut self, from: SocketAddrV4, bytes: &[u8], at: Nanos) {
        match self.bursts.back_mut() {
            Some((last, count)) if *last == at => *count += 1,
            _ => self.bursts.push_back((at, 1)),
        }
        self.upstream.received(from, bytes, at);
        self.refusals.received(from, bytes, at);
        if matches!(bytes.len(), 20 | 28) {
            self.requests.push_back(Request { at, from, bytes: bytes.into(), repair: false });
        }
    }

    /// The repair service received a datagram.
    pub fn asked(&mut self, from: SocketAddrV4, bytes: &[u8], at: Nanos) {
        if bytes.len() == 20 {
            self.requests.push_back(Request { at, from, bytes: bytes.into(), repair: true });
        }
    }

    /// What was taken from the ports up to `until`, in its order among what left.
    fn take_in(&mut self, until: Nanos) {
        if self.sessions.is_empty() {
            return;
        }
        while let Some(request) = self.requests.front()
            && request.at <= until
            && let Some(Request { at, from, bytes, repair }) = self.requests.pop_front()
        {
            match (&self.feed, super::bytes::packet(&bytes[..20])) {
                (Some(feed), Some((head, _))) if repair => {
                    if feed.is_named(&head.session) {
                        self.repairs.asked(from, &head, feed.left_on_both(), at);
                    }
                }
                _ => self.sessions.iter_mut().for_each(|s| s.asked(from, &bytes, at)),
            }
        }
        while let Some(taken) = self.taken.front()
            && taken.at <= until
        {
            if let Some(session) = self.sessions.get_mut(taken.slot.0 as usize)
                && self.clocks_agree
            {
                session.taken(taken);
                let few = FEW.min(self.rate.1 as u64 / 2);
                if self.hours.up_since() <= taken.at
                    && session.must_take(taken)
                    && self.upstream.sends_few(taken.slot, taken.at, few)
                {
                    self.intake.owe(taken);
                }
            }
            self.taken.pop_front();
        }
        self.refusals.expect(until, &mut self.sessions, &self.keys);
    }

    /// The exchange sent a datagram.
    pub fn sent(&mut self, sent: Sent) {
        self.sent.push(sent);
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
        self.taken.extend(self.upstream.take_taken());
        self.judge_sent(now, faults);
        self.judge_duplicates(faults);
        self.bursts.clear();
        if end {
            self.ledger.digest_now();
        }
        self.notes.judge(&self.ledger, &self.sessions, end, faults);
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
        ledger.read_commands(view, faults, |seq, kept, command, (made, wanted), faults| {
            self.hours.judge_wanted(seq, command, wanted, faults);
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
            self.sessions.push(SessionWatch::new(slot, name, *key, self.reports_kept));
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
        self.hours.on_command(seq, time, command, faults);
        self.causes.push(match command {
            Command::Message(head, _) => Some((head.session, head.client_seq)),
            _ => None,
        });
        match command {
            Command::Message(head, body) => {
                self.arrived.push((seq, *head));
                self.intake.sequenced(seq, head, faults);
                self.judge_window((seq, time), head, faults);
                self.judge_order(seq, head, made, faults);
                self.judge_passed_over(seq, head, made, faults);
                match self.upstream.check_message(head, body) {
                    Err(what) => faults.add(UNSENT, format!("command {seq}: {what}")),
                    Ok(well_formed) => self.judge_verdict(seq, head, well_formed, faults),
                }
            }
            Command::Login(login) => {
                self.judge_login((seq, time), login, made, challenges, faults);
            }
            Command::Logoff(m) => {
                if let Err(what) = self.upstream.check_logoff(m) {
                    faults.add(UNSENT, format!("command {seq}: {what}"));
                }
                // One that is not the next is answered with K and fills no log.
                let effective = made.iter().any(|e| matches!(e.body, EventBody::SessionEnded(_)));
                let bound = self.bound.get(m.session.0 as usize).copied().flatten();
                if bound == Some(m.generation) && !effective {
                    faults.add("a logoff with a wrong number", format!("command {seq}: {m:?}"));
                }
                self.judge_logoff(seq, m, faults);
                self.intake.logged_off(m);
            }
            Command::SessionDown(m) => {
                let effective = made.iter().any(|e| matches!(e.body, EventBody::SessionEnded(_)));
                if effective && self.clocks_agree {
                    self.judge_down(seq, time, m.session, m.generation, faults);
                }
                self.judge_down_again(seq, time, m, faults);
            }
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
                EventBody::SessionMark(m) if m.code == b'E' => self.marked = Some(time),
                _ => {}
            }
        }
    }

    /// A login is one that its user sent now, and no repeat.
    fn judge_login(
        &mut self,
        (seq, time): (u64, Nanos),
        login: &Login,
        made: &[Event],
        challenges: &Challenges,
        faults: &mut Faults,
    ) {
        let slot = login.session.0 as usize;
        let Some(key) = self.keys.get(slot).copied() else {
            return faults.add(UNSENT, format!("command {seq}: {login:?}"));
        };
        let off = login.login_time.0.abs_diff(login.received.0);
        if self.clocks_agree && off > LOGIN_TIME_NS {
            let what = format!("command {seq}: off by {} ms: {login:?}", off / MS);
            faults.add("a login of another time", what);
        }
        let user = crate::sim::user(slot);
        let checked = self.upstream.check_login(login, user, &key, GATEWAY, challenges);
        if let Err(what) = checked {
            faults.add(UNSENT, format!("command {seq}: {what}"));
        }
        let last = std::mem::replace(&mut self.logins[slot], (login.generation, login.received));
        if last.0 == login.generation && self.is_under_way(last.1, login.received) {
            faults.add("a login was sequenced again", format!("command {seq}: {login:?}"));
        }
        if let Some(ended) = self.marked
            && ended.plus(LOGIN_KNOWN_NS) <= login.received
            && self.clocks_agree
            && !faults.excused(ended, ended.plus(LOGIN_KNOWN_NS))
        {
            let what = format!("command {seq}: it ended at {}: {login:?}", ended.0);
            faults.add("a login after the end of the day", what);
        }
        let (last, since) = self.login_times[slot];
        if self.clocks_agree
            && login.login_time <= last
            && since.plus(LOGIN_KNOWN_NS) <= login.received
            && !faults.excused(since, since.plus(LOGIN_KNOWN_NS))
        {
            let what = format!("command {seq}: the last is of {}: {login:?}", last.0);
            faults.add("a login no later than the last", what);
        }
        if made.iter().any(|e| matches!(e.body, EventBody::LoggedIn(_))) {
            self.login_times[slot] = (login.login_time, time);
            self.upstream.bind(login, &key);
        }
    }

    /// What came at `first` need not show its effect yet, and the same life of the gateway knows of it.
    fn is_under_way(&self, first: Nanos, at: Nanos) -> bool {
        let near = at.since(first) < UNDER_WAY_NS;
        near && self.clocks_agree && self.hours.up_since() <= first
    }

    /// Repeats of a logoff that is under way fill no log.
    fn judge_logoff(&mut self, seq: u64, m: &Logoff, faults: &mut Faults) {
        let Some(last) = self.logoffs.get_mut(m.session.0 as usize) else { return };
        if let Some(last) = last.replace(*m)
            && (last.generation, last.client_next) == (m.generation, m.client_next)
            && self.is_under_way(last.received, m.received)
        {
            faults.add("a logoff was sequenced again", format!("command {seq}: {m:?}"));
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

    /// What N covers never came, came later, or came while too much did: more than a client may always
    /// send, and more than there was room for in the second bucket of the rate or beside what was under
    /// way.
    fn judge_passed_over(
        &mut self,
        seq: u64,
        head: &MessageHead,
        made: &[Event],
        faults: &mut Faults,
    ) {
        let few = FEW.min(self.rate.1 as u64 / 2);
        for event in made {
            let EventBody::NotApplied(m) = &event.body else { continue };
            let numbers = m.from..head.client_seq.min(m.from + NEAR);
            if !self.clocks_agree || numbers.is_empty() {
                continue;
            }
            let login = (head.session, head.generation);
            let came = self.upstream.passed_over(login, numbers, head.received);
            let Some(came @ PassedOver { number, at, .. }) = came else { continue };
            let session = self.sessions.get(head.session.0 as usize);
            let may_drop = !self.had_room(head.session, &came)
                && (at == head.received || !self.upstream.sends_few(head.session, at, few));
            if session.is_some_and(|s| number < s.said_applied(at) + JUMP)
                && !may_drop
                && !faults.excused(at, head.received)
            {
                let what = format!("command {seq}: {number} came at {}: {head:?}", at.0);
                faults.add("a message was dropped without cause", what);
            }
        }
    }

    /// Whether all of the datagram could be taken when it came. Call it before the message that told is
    /// counted: of one burst a lower number is looked at first.
    fn had_room(&self, slot: SessionSlot, came: &PassedOver) -> bool {
        let slot = slot.0 as usize;
        let (Some(tokens), Some(window), Some(session)) =
            (self.tokens.get(slot), self.windows.get(slot), self.sessions.get(slot))
        else {
            return false;
        };
        let burst = self.bursts.iter().rev().find(|(at, _)| *at == came.at);
        // More than one burst may bear the same time.
        if burst.is_some_and(|(_, count)| *count > BURST) {
            return false;
        }
        tokens.had_room(came.at, came.blocks)
            && window.had_room(session.said_applied(came.at), came.blocks)
    }

    /// A client that does not wait is dropped before it is sequenced.
    fn judge_window(&mut self, (seq, time): (u64, Nanos), head: &MessageHead, faults: &mut Faults) {
        let slot = head.session.0 as usize;
        if !self.clocks_agree || self.bound.get(slot) != Some(&Some(head.generation)) {
            return;
        }
        if let Some(count) = self.windows[slot].message(time, head.client_seq) {
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
        let taken = tokens.take(head.received);
        if taken.flood {
            faults.add("a flood reached the log", format!("command {seq}: {head:?}"));
        }
        let expected = if taken.there { expected } else { Verdict::Throttled };
        if head.verdict != expected as u8 {
            let what = format!("command {seq}: expected {expected:?}, got {head:?}");
            faults.add("a block has the wrong verdict", what);
        }
    }

    /// The end of a session that has not taken effect is said again, but not at every look.
    fn judge_down_again(&mut self, seq: u64, time: Nanos, m: &SessionDown, faults: &mut Faults) {
        let Some(last) = self.downs.get_mut(m.session.0 as usize) else { return };
        let before = last.replace((m.generation, time));
        if let Some((generation, at)) = before
            && generation == m.generation
            && self.clocks_agree
            && self.hours.up_since() <= at
            && time.since(at) < DOWN_AGAIN_NS
            && !faults.excused(at, time)
        {
            let what =
                format!("command {seq}: {m:?}, {} us after the last", time.since(at) / 1_000);
            faults.add("the end of a session is said again too soon", what);
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
        let heard = heard.max(self.hours.up_since()).max(since);
        // While nobody could hear him he was not silent; had he been for long enough before, the command
        // may have been on its way.
        let was_dead = |by: Nanos| {
            let heard = self.upstream.heard(slot, generation, by).unwrap_or(Nanos(0));
            heard.max(self.hours.up_since()).max(since).plus(dead_ns) <= by
        };
        let too_soon = |deaf: &&Deaf| {
            let heard_again = time.since(deaf.until) + 5 * MS < dead_ns;
            let before = if deaf.others { deaf.from.plus(STALL_NS) } else { deaf.from };
            heard_again && self.hours.up_since() < deaf.from && !was_dead(before)
        };
        let deaf = faults.deaf_before(time).find(too_soon);
        if let Some(deaf) = deaf
            && bound == generation
            && !self.hours.is_healing()
        {
            let (back, dead) = (time.since(deaf.until) / MS, dead_ns / MS);
            let what =
                format!("command {seq}: session {} could be heard for {back} of {dead} ms", slot.0);
            faults.add("a session was ended too early", what);
            return;
        }
        // Nor does it count that it was heard while the sequencer stood still with it in its ring.
        // Nobody is dead before the exchange could hear him for that long.
        let away = time.since(self.hours.up_since()) + MS < dead_ns;
        let early = time.since(heard) + MS < dead_ns && (away || !faults.excused(heard, time));
        if bound == generation && early {
            let (silent, dead) = (time.since(heard) / MS, dead_ns / MS);
            let what =
                format!("command {seq}: session {} was silent for {silent} of {dead} ms", slot.0);
            faults.add("a session was ended too early", what);
        }
    }

    fn read_events(&mut self, view: &DayView, faults: &mut Faults) {
        let Some(midnight) = self.ledger.genesis.as_ref().map(|g| g.midnight) else { return };
        let mut ledger = std::mem::take(&mut self.ledger);
        let causes = std::mem::take(&mut self.causes);
        ledger.read_events(view, faults, |_, kept, event, faults| {
            if let Some(feed) = &mut self.feed {
                feed.on_event(event, kept.time, (midnight, self.clocks_agree), faults);
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
        let ran = self.stopped.unwrap_or(now);
        let sent = std::mem::take(&mut self.sent);
        let mut to_feed = Vec::new();
        let mut to_sessions: Vec<Vec<(Nanos, bool)>> = vec![Vec::new(); self.sessions.len()];
        for s in &sent {
            self.take_in(s.at);
            let with_messages = s.bytes.get(18..20).is_some_and(|c| c != [0, 0] && c != [255, 255]);
            if s.local == GATEWAY {
                let disk = self.disk;
                let owner = self.sessions.iter_mut().position(|w| w.on_sent(s, disk, faults));
                if owner.is_none() && s.bytes.starts_with(b"          ") {
                    let Self { refusals, sessions, keys, hours, clocks_agree, .. } = self;
                    // The log may have the end already of which nobody knew when this left.
                    let over = hours.over().is_some_and(|over| !*clocks_agree || over <= s.at);
                    refusals.judge(s, sessions, keys, (over, *clocks_agree), faults);
                }
                let head = s.bytes.get(10..20).unwrap_or(&[0; 10]);
                let sequence = head[..8].iter().fold(0, shifted);
                let count = head[8..].iter().fold(0, shifted);
                if let Some(slot) = owner.filter(|_| sequence == 0 || !with_messages) {
                    self.polls.served(slot, s.at);
                }
                if let Some(slot) = owner.filter(|_| sequence != 0)
                    && let Some(new) = self.sessions[slot].brings(sequence, count as u16)
                {
                    to_sessions[slot].push((s.at, new));
                    let session = &self.sessions[slot];
                    if new && let Some(last) = session.last_command(sequence, count as u16, s.at) {
                        self.polls.left(last, s.at);
                    }
                }
                if let Some(slot) = owner.filter(|_| self.clocks_agree) {
                    let left_after = |command| self.polls.left_after(command, slot);
                    self.sessions[slot].judge_answers(left_after, faults);
                }
                continue;
            }
            let Some(feed) = &mut self.feed else { continue };
            let path = match s.peer {
                _ if s.local == REPAIR => FeedPath::Repair,
                to if to == GROUP_A => FeedPath::A,
                to if to == GROUP_B => FeedPath::B,
                _ => continue,
            };
            if path == FeedPath::Repair
                && let Some((head, blocks)) = super::bytes::packet(&s.bytes)
            {
                let next = feed.messages.get(head.sequence + blocks.len() as u64);
                let next = next.map(<[u8]>::len);
                self.repairs.answered(s, &head, blocks.len(), next, faults);
            }
            if feed.on_sent(s, path, self.disk, faults) && path != FeedPath::Repair {
                to_feed.push((s.at, path == FeedPath::B, with_messages));
            }
        }
        self.take_in(now);
        self.repairs.until(now, faults);
        if let Some(feed) = &mut self.feed {
            feed.judge_rhythm(&to_feed, self.hours.up_since(), now, faults);
            feed.judge_ends(ran, faults);
        }
        if !self.clocks_agree {
            return;
        }
        self.refusals.until(now, faults);
        let last = self.ledger.commands.last().map_or(Nanos(0), |last| last.time);
        self.intake.until(last, faults);
        for (session, sends) in self.sessions.iter_mut().zip(&to_sessions) {
            session.judge_rhythm(sends, now, faults);
            session.judge_pace(now, faults);
            session.judge_ends(ran, faults);
        }
    }

    /// Another day followed: the end of this one was told before, whoever stood still meanwhile.
    pub fn close(&self, faults: &mut Faults) {
        if self.hours.over().is_none() {
            return;
        }
        self.feed.iter().for_each(|feed| feed.close(faults));
        self.sessions.iter().for_each(|session| session.close(faults));
        if let Some((at, linger_ns)) = self.closed {
            self.judge_linger(at, linger_ns, faults);
        }
    }

    /// Reports and messages could be asked for so long after each had heard the end, and after whoever
    /// answers was there.
    fn judge_linger(&self, at: Nanos, linger_ns: u64, faults: &mut Faults) {
        let told = self.feed.as_ref().and_then(FeedWatch::end_told);
        let up = self.hours.up_since();
        let repair = told.map(|told| faults.awake_after("retransmitter", told, up));
        let session = |s: &SessionWatch| (format!("session {}", s.slot().0), s.end_told());
        let rest = [("the feed".to_string(), told), ("repair".to_string(), repair)];
        for (who, since) in self.sessions.iter().map(session).chain(rest) {
            if let Some(since) = since.filter(|since| at.since(*since) < linger_ns) {
                let what = format!("{who}: since {}, closed at {}", since.0, at.0);
                faults.at("an ended day was served too short", what, at);
            }
        }
    }

    /// What the ended day left to each account: name, cash, shares by symbol. `None` when it has not
    /// ended.
    pub fn closing(&self) -> Option<Vec<Estate>> {
        let naive = self.ledger.naive().filter(|_| self.hours.over().is_some())?;
        let specs = naive.genesis().accounts.iter().enumerate();
        let closing = specs.filter_map(|(slot, spec)| {
            let account = naive.account(AccountSlot(slot as u16))?;
            let shares = account.positions.iter().map(|p| (p.locate, p.free + p.held));
            let cash = account.cash_free.0 + account.cash_held.0;
            Some(Estate { name: spec.name, cash, shares: shares.collect() })
        });
        Some(closing.collect())
    }

    /// What each account began the day with.
    pub fn opening(&self) -> Option<Vec<Estate>> {
        let accounts = &self.ledger.genesis.as_ref()?.accounts;
        let opening = accounts.iter().map(|spec| {
            let shares = spec.positions.iter().copied().filter(|p| p.1 > 0).collect();
            Estate { name: spec.name, cash: spec.cash.0, shares }
        });
        Some(opening.collect())
    }

    /// Everybody has heard the feed to its end. `heard`: session and last message of each subscriber.
    pub fn judge_heard(
        &self,
        heard: &[(SessionName, u64)],
        healed: Nanos,
        now: Nanos,
        faults: &mut Faults,
    ) {
        let Some(feed) = &self.feed else { return };
        for (index, &(session, last)) in heard.iter().enumerate() {
            if let Some(next) = feed.unheard((session, last), healed, now) {
                let what =
                    format!("subscriber {index}: at {last} of {}: no {next}", session.text());
                faults.add("a subscriber did not hear the end", what);
            }
        }
    }

    /// No client is bound that has been silent for its dead time and a second; the market is closed when
    /// it should be.
    pub fn judge_silence(&self, now: Nanos, faults: &mut Faults) {
        if !self.clocks_agree || self.hours.over().is_some() {
            return;
        }
        self.hours.judge_close(now, faults);
        for (i, session) in self.sessions.iter().enumerate() {
            let Some((generation, dead_ns, since)) = session.binding(now) else { continue };
            let slot = SessionSlot(i as u16);
            let heard = self.upstream.heard(slot, generation, now).unwrap_or(Nanos(0));
            let heard = heard.max(since).max(self.hours.up_since());
            if now.since(heard) > dead_ns + 1_000 * MS && !faults.excused(heard, now) {
                let what = format!("session {i}: silent for {} ms", now.since(heard) / MS);
                faults.add("a silent session is not ended", what);
            }
        }
    }
}
