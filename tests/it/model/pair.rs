//! Both exchanges side by side: the same command to each, and every answer compared.

use std::collections::BTreeMap;

use rialto::exchange::command::Command;
use rialto::exchange::event::{Event, EventBody};
use rialto::exchange::genesis::Genesis;
use rialto::exchange::{Exchange, Naive};
use rialto::types::*;

/// The fast exchange and its model.
pub struct Pair {
    fast: Exchange,
    /// The model; flows look at it to choose what to do next.
    pub naive: Naive,
    seq: u64,
    /// Time of the last command.
    pub time: u64,
    note: String,
    /// Events by what they say.
    seen: BTreeMap<String, u64>,
    fast_events: Vec<Event>,
    naive_events: Vec<Event>,
    /// Restarted from a snapshot now and then, `None` when nobody asked.
    restarted: Option<Restarted>,
}

/// An exchange that was saved and restored, and goes on beside the one that was not.
struct Restarted {
    exchange: Exchange,
    events: Vec<Event>,
    bytes: Vec<u8>,
    /// Commands from one restart to the next.
    every: u64,
    count: u64,
}

impl Pair {
    /// Both after Genesis.
    pub fn new(genesis: &Genesis) -> Pair {
        let mut pair = Pair {
            fast: Exchange::new(genesis).expect("a consistent genesis"),
            naive: Naive::new(genesis).expect("a consistent genesis"),
            seq: 0,
            time: genesis.midnight.0,
            note: String::new(),
            seen: BTreeMap::new(),
            fast_events: Vec::new(),
            naive_events: Vec::new(),
            restarted: None,
        };
        pair.apply(&Command::Genesis(&genesis.encode()));
        pair.compare_views();
        pair
    }

    /// From now on a third exchange runs along, which is saved and restored after every `every`
    /// commands, and after every command while a mass action goes on.
    pub fn restart_often(&mut self, every: u64) {
        let mut bytes = Vec::new();
        self.fast.save(&mut bytes);
        let exchange = Exchange::restore(self.fast.genesis(), &bytes).expect("just saved");
        self.restarted = Some(Restarted { exchange, events: Vec::new(), bytes, every, count: 0 });
    }

    /// Times that the third exchange was restored.
    pub fn restarts(&self) -> u64 {
        self.restarted.as_ref().map_or(0, |r| r.count)
    }

    /// The restarted exchange does the same command; then, when it is time, it is saved and restored.
    fn run_along(&mut self, seq: Seq, time: Nanos, command: &Command<'_>, void: bool) {
        let Some(r) = &mut self.restarted else { return };
        let place = || format!("\n{}\ncommand {seq:?} = {command:?}", self.note);
        r.events.clear();
        match void {
            false => r.exchange.apply(seq, time, command, &mut r.events),
            true => r.exchange.apply_void(seq, time, command, &mut r.events),
        }
        assert_eq!(r.events, self.fast_events, "events after a restart{}", place());
        assert_eq!(r.exchange.state_hash(), self.fast.state_hash(), "state hash{}", place());
        if !seq.0.is_multiple_of(r.every) && !self.fast.continue_wanted() {
            return;
        }
        r.exchange.check();
        let mut of_fast = Vec::new();
        self.fast.save(&mut of_fast);
        r.bytes.clear();
        r.exchange.save(&mut r.bytes);
        assert!(r.bytes == of_fast, "bytes saved{}", place());
        r.exchange = Exchange::restore(self.fast.genesis(), &r.bytes)
            .unwrap_or_else(|e| panic!("{e}{}", place()));
        r.exchange.check();
        r.count += 1;
    }

    /// A line that a failure prints: how to see it again.
    pub fn note(&mut self, note: String) {
        self.note = note;
    }

    /// Events so far by what they say: kind, and the reason where there is one.
    pub fn seen(&self) -> &BTreeMap<String, u64> {
        &self.seen
    }

    /// Applies one command, as it comes out of its record, and compares everything cheap.
    pub fn apply(&mut self, command: &Command<'_>) {
        self.do_apply(command, false);
    }

    /// The same, as void.
    pub fn apply_void(&mut self, command: &Command<'_>) {
        self.do_apply(command, true);
    }

    fn do_apply(&mut self, command: &Command<'_>, void: bool) {
        let mut record = vec![0; 65_536];
        let (kind, len) = command.encode(&mut record);
        let command = Command::decode(kind, &record[..len]).expect("what was encoded decodes");
        self.seq += 1;
        self.time += 1_000;
        let (seq, time) = (Seq(self.seq), Nanos(self.time));

        self.fast_events.clear();
        self.naive_events.clear();
        let fast_events = &mut self.fast_events;
        let fast = &mut self.fast;
        let survived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            match void {
                false => fast.apply(seq, time, &command, fast_events),
                true => fast.apply_void(seq, time, &command, fast_events),
            }
            fast.check();
        }));
        match void {
            false => self.naive.apply(seq, time, &command, &mut self.naive_events),
            true => self.naive.apply_void(seq, time, &command, &mut self.naive_events),
        }
        self.naive.check();

        let place = || format!("\n{}\ncommand {} = {command:?}", self.note, self.seq);
        assert!(survived.is_ok(), "the exchange panicked{}", place());
        if self.fast_events != self.naive_events {
            let same = self.fast_events.iter().zip(&self.naive_events).take_while(|(a, b)| a == b);
            let at = same.count();
            panic!(
                "event {at} differs{}\nfast  {:?}\nnaive {:?}",
                place(),
                self.fast_events.get(at),
                self.naive_events.get(at)
            );
        }
        assert_eq!(self.fast.state_hash(), self.naive.state_hash(), "state hash{}", place());
        let wanted = [self.fast.continue_wanted(), self.naive.continue_wanted()];
        assert_eq!(wanted[0], wanted[1], "continue wanted{}", place());
        if wanted[1] {
            *self.seen.entry("a mass action goes on".to_string()).or_default() += 1;
        }
        for event in &self.naive_events {
            *self.seen.entry(says(&event.body)).or_default() += 1;
            let mut bytes = vec![0; event.size()];
            event.encode(&mut bytes);
            assert_eq!(Event::decode(event.body.kind(), &bytes).as_ref(), Some(event));
        }
        self.run_along(seq, time, &command, void);
    }

    /// Compares all that can be read of both.
    pub fn compare_views(&self) {
        let (fast, naive) = (&self.fast, &self.naive);
        let genesis = naive.genesis();
        assert_eq!(fast.genesis(), genesis);
        assert_eq!(fast.open_orders(), naive.open_orders(), "open orders\n{}", self.note);
        for locate in (1..=genesis.symbols.len() as u16).map(Locate) {
            assert_eq!(fast.best(locate), naive.best(locate), "best\n{}", self.note);
            for side in [Side::Buy, Side::Sell] {
                let levels: Vec<_> = fast.levels(locate, side).collect();
                assert_eq!(levels, naive.levels(locate, side), "levels\n{}", self.note);
                let orders: Vec<_> = fast.orders(locate, side).collect();
                assert_eq!(orders, naive.orders(locate, side), "orders\n{}", self.note);
            }
        }
        for slot in (0..=genesis.accounts.len() as u16).map(AccountSlot) {
            assert_eq!(fast.account(slot), naive.account(slot), "account\n{}", self.note);
        }
        for slot in (0..=genesis.sessions.len() as u16).map(SessionSlot) {
            assert_eq!(fast.session(slot), naive.session(slot), "session\n{}", self.note);
        }
    }
}

/// Kind of an event, with its reason.
fn says(body: &EventBody) -> String {
    match body {
        EventBody::Rejected(e) => format!("Rejected {:04x}", e.reason),
        EventBody::Canceled(e) => {
            format!("Canceled {} {}", e.reason as char, ["new", "resting"][e.was_resting as usize])
        }
        EventBody::SessionEnded(e) => format!("SessionEnded {}", e.by),
        EventBody::System(e) => format!("System {}", e.code as char),
        other => {
            let text = format!("{other:?}");
            text.split('(').next().unwrap_or_default().to_string()
        }
    }
}
