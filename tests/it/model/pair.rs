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
        };
        pair.apply(&Command::Genesis(&genesis.encode()));
        pair.compare_views();
        pair
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
            fast.apply(seq, time, &command, fast_events);
            fast.check();
        }));
        self.naive.apply(seq, time, &command, &mut self.naive_events);
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
