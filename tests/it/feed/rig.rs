//! A venue for feed tests: an event log written by hand, and a random but consistent flow of orders.

use rialto::exchange::event::*;
use rialto::publisher::{PublisherConfig, feed};
use rialto::retransmitter::RetransmitterConfig;
use rialto::store::{
    AppendError, Archiver, ArchiverOptions, CommitPolicy, Day, DaySpec, Log, LogIndex, Writer,
};
use rialto::types::*;
use std::net::{Ipv4Addr, SocketAddrV4};

pub const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
pub const SESSION: SessionName = SessionName { 0: *b"RIALTOA001" };
pub const MIDNIGHT: Nanos = Nanos(1_700_000_000_000_000_000);
pub const MS: u64 = 1_000_000;

pub fn group(last: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(239, 1, 1, last), 9100 + u16::from(last))
}

pub fn publisher_config() -> PublisherConfig {
    PublisherConfig { group_a: group(1), group_b: group(2), session: SESSION, midnight: MIDNIGHT }
}

pub fn repair_config() -> RetransmitterConfig {
    RetransmitterConfig::new(SESSION, MIDNIGHT)
}

pub fn start() -> Nanos {
    MIDNIGHT.plus(9 * 3_600_000_000_000)
}

/// Seeded choices.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

#[derive(Clone, Copy)]
struct Resting {
    order_ref: OrderRef,
    side: Side,
    open: u32,
    locate: Locate,
}

/// An event log, and what was written to it.
pub struct Rig {
    _dir: tempfile::TempDir,
    pub day: Day,
    writer: Writer,
    archiver: Archiver,
    archived_at: Nanos,
    command: u64,
    feed: u64,
    match_number: u64,
    references: u64,
    resting: Vec<Resting>,
    dice: Dice,
    pub now: Nanos,
    /// Every message that the feed must say, message n at n - 1.
    pub said: Vec<Vec<u8>>,
}

fn symbol(locate: Locate) -> Symbol {
    Symbol::new(&format!("SYM{}", locate.0)).unwrap()
}

impl Rig {
    pub fn new(seed: u64) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let spec = DaySpec { segment_bytes: 2 << 20, ..DaySpec::small(dir.path()) };
        let day = Day::open(&spec, start()).unwrap();
        let mut writers = LogIndex::ALL
            .map(|log| Some(day.log(log).writer(&day.log(log).recover().unwrap()).unwrap()));
        let writer = writers[LogIndex::Event as usize].take().unwrap();
        let options = ArchiverOptions::for_policy(CommitPolicy::Memory);
        let archiver = day.archiver(options).unwrap();
        Rig {
            _dir: dir,
            day,
            writer,
            archiver,
            archived_at: start(),
            command: 0,
            feed: 0,
            match_number: 0,
            references: 0,
            resting: Vec::new(),
            dice: Dice::new(seed),
            now: start(),
            said: Vec::new(),
        }
    }

    pub fn log(&self) -> &Log {
        self.day.log(LogIndex::Event)
    }

    /// Appends the events of one command and commits it.
    pub fn command(&mut self, bodies: &[EventBody]) {
        self.command += 1;
        for (index, body) in bodies.iter().enumerate() {
            let mut event = Event {
                head: EventHead {
                    command: Seq(self.command),
                    session: NO_SESSION,
                    zero: [0; 2],
                    index: index as u32,
                    report: 0,
                    feed: 0,
                    applied: 0,
                    previous: 0,
                },
                body: *body,
            };
            if let Some(message) = feed::message(&event, self.now, MIDNIGHT) {
                self.feed += 1;
                event.head.feed = self.feed;
                let mut bytes = vec![0; message.size()];
                message.encode(&mut bytes);
                self.said.push(bytes);
            }
            let kind = event.body.kind();
            loop {
                let written = self.writer.append(kind, 0, self.now, 1, event.size(), |out| {
                    event.encode(out);
                });
                match written {
                    Ok(_) => break,
                    Err(AppendError::Full) => self.archive(),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        CommitPolicy::Memory.advance(self.day.control(), LogIndex::Event);
    }

    fn archive(&mut self) {
        use rialto::agent::Agent;
        // The archiver's own time: its waits are not what is tested here.
        self.archived_at = self.archived_at.plus(100 * MS);
        self.archiver.duty_cycle(self.archived_at);
        self.archiver.housekeeping(self.archived_at);
    }

    /// The opening of a day with `symbols` symbols.
    pub fn open(&mut self, symbols: u16) {
        let system = |code| EventBody::System(System { code, zero: [0; 7] });
        let mut events = vec![system(b'O')];
        for locate in (1..=symbols).map(Locate) {
            let symbol = symbol(locate);
            events.push(Directory { locate, zero: [0; 2], lot: 1, symbol }.into());
        }
        for locate in (1..=symbols).map(Locate) {
            let (symbol, reason) = (symbol(locate), Alpha::BLANK);
            events.push(TradingAction { locate, state: b'T', zero: 0, reason, symbol }.into());
        }
        events.push(system(b'S'));
        self.command(&events);
    }

    /// The end of a day.
    pub fn close(&mut self) {
        for code in *b"MEC" {
            self.command(&[EventBody::System(System { code, zero: [0; 7] })]);
        }
    }

    /// A random command of 1 to 40 feed messages, mostly few, with events in between that say
    /// nothing on the feed.
    pub fn trade(&mut self) {
        let silent = EventBody::Applied(Applied { next_report: 7 });
        let mut events = vec![silent];
        match self.dice.below(10) {
            0..5 => {
                let add = self.add();
                events.push(add);
            }
            5 if !self.resting.is_empty() => {
                let order = self.pick();
                let take = 1 + self.dice.below(u64::from(order.open)) as u32;
                events.push(self.cancel(order, take));
            }
            6 if !self.resting.is_empty() => {
                let order = self.pick();
                events.push(self.replace(order));
            }
            _ => {
                let most = if self.dice.below(20) == 0 { 40 } else { 4 };
                for _ in 0..(1 + self.dice.below(most)).min(self.resting.len() as u64) {
                    let order = self.pick();
                    events.extend(self.execute(order));
                }
                let rest = self.add();
                events.push(rest);
            }
        }
        events.push(silent);
        self.command(&events);
    }

    /// A command with exactly `messages` messages, all of 36 bytes.
    pub fn adds(&mut self, messages: usize) {
        let events: Vec<EventBody> = (0..messages).map(|_| self.add()).collect();
        self.command(&events);
    }

    fn pick(&mut self) -> Resting {
        let index = self.dice.below(self.resting.len() as u64) as usize;
        self.resting.swap_remove(index)
    }

    fn price(&mut self) -> Price {
        Price(100_000 + 100 * self.dice.below(40) as u32)
    }

    fn add(&mut self) -> EventBody {
        self.references += 1;
        let order = Resting {
            order_ref: OrderRef((self.references << 32) | (self.references % 1000)),
            side: if self.dice.below(2) == 0 { Side::Buy } else { Side::Sell },
            open: 1 + self.dice.below(900) as u32,
            locate: Locate(1 + self.dice.below(3) as u16),
        };
        self.resting.push(order);
        EventBody::Rested(Rested {
            order_ref: order.order_ref,
            price: self.price(),
            quantity: Quantity(order.open),
            symbol: symbol(order.locate),
            locate: order.locate,
            side: order.side,
            zero: 0,
        })
    }

    fn cancel(&mut self, mut order: Resting, take: u32) -> EventBody {
        order.open -= take;
        if order.open > 0 {
            self.resting.push(order);
        }
        EventBody::Canceled(Canceled {
            order_ref: order.order_ref,
            urn: Urn(1),
            decrement: Quantity(take),
            leaves: Quantity(order.open),
            locate: order.locate,
            account: AccountSlot(0),
            side: order.side,
            reason: b'U',
            was_resting: 1,
            zero: 0,
        })
    }

    fn replace(&mut self, old: Resting) -> EventBody {
        self.references += 1;
        let order_ref = OrderRef((self.references << 32) | (self.references % 1000));
        let on_book = self.dice.below(2) as u8;
        if on_book == 1 {
            self.resting.push(Resting { order_ref, ..old });
        }
        EventBody::Replaced(Replaced {
            old_ref: old.order_ref,
            order_ref,
            old_urn: Urn(1),
            urn: Urn(2),
            quantity: Quantity(old.open),
            price: self.price(),
            locate: old.locate,
            account: AccountSlot(0),
            symbol: symbol(old.locate),
            cl_ord_id: ClOrdId::BLANK,
            side: old.side,
            tif: b'0',
            display: b'Y',
            capacity: b'A',
            iso: b'N',
            cross: b'N',
            state: b'L',
            on_book,
            zero: [0; 2],
        })
    }

    /// Both sides of a match; only the resting one is told.
    fn execute(&mut self, mut order: Resting) -> [EventBody; 2] {
        let quantity = 1 + self.dice.below(u64::from(order.open)) as u32;
        order.open -= quantity;
        if order.open > 0 {
            self.resting.push(order);
        }
        self.match_number += 1;
        let maker = Executed {
            order_ref: order.order_ref,
            match_number: MatchNumber(self.match_number),
            urn: Urn(1),
            quantity: Quantity(quantity),
            price: Price(100_000),
            leaves: Quantity(order.open),
            locate: order.locate,
            account: AccountSlot(0),
            side: order.side,
            liquidity: b'A',
            zero: [0; 2],
        };
        let taker = Executed { liquidity: b'R', side: order.side.opposite(), ..maker };
        [maker.into(), taker.into()]
    }
}
