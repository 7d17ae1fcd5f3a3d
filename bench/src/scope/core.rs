//! Scope "core": all of `Exchange::apply`, as the engine calls it: session numbering, every check, limits,
//! funds held and settled, matching, events with their numbers, state hash. The sink reads every event; it
//! stores fills and writes no log.

use rialto::exchange::Exchange;
use rialto::exchange::command::{self, *};
use rialto::exchange::event::{Event, EventBody, EventSink};
use rialto::exchange::genesis::*;
use rialto::types::*;

use super::{TICK, pages, price, side, slots, symbol};
use crate::measure::Engine;
use crate::stream::digest::{BookTotals, Fill, Outcome, Totals};
use crate::stream::reference::Plan;
use crate::stream::{Action, Kind};

/// Owners share this many accounts and sessions: a large venue's number.
const SESSIONS_MAX: u32 = 1_000;
/// Cash and shares of each account: never short, so that the stream decides what happens.
const FUNDS: u64 = 1 << 50;
/// Midnight of the day.
const MIDNIGHT: Nanos = Nanos(1_700_000_000_000_000_000);
/// Time between two commands.
const STEP_NS: u64 = 1_000;

/// The exchange, its sink, and where it stands in the command log.
pub struct Core {
    exchange: Exchange,
    tape: Tape,
    seq: u64,
}

/// A fill by order references.
#[derive(Clone, Copy)]
struct RefFill {
    taker: OrderRef,
    maker: OrderRef,
    price: Price,
    quantity: Quantity,
}

/// Reads every event and keeps the fills.
struct Tape {
    fills: Vec<RefFill>,
    maker: OrderRef,
    fold: u64,
}

impl EventSink for Tape {
    #[inline(always)]
    fn emit(&mut self, _time: Nanos, event: &Event) {
        let head = &event.head;
        let numbers = head.report ^ head.feed.rotate_left(24) ^ head.applied.rotate_left(48);
        self.fold = self.fold.rotate_left(5) ^ numbers ^ u64::from(event.body.kind());
        if let EventBody::Executed(e) = &event.body {
            if e.liquidity == b'A' {
                self.maker = e.order_ref;
            } else {
                let (price, quantity) = (e.price, e.quantity);
                let fill = RefFill { taker: e.order_ref, maker: self.maker, price, quantity };
                self.fills.push(fill);
            }
        }
    }
}

fn sessions(plan: &Plan) -> u32 {
    plan.stream.owners.clamp(1, SESSIONS_MAX)
}

fn genesis(plan: &Plan) -> Genesis {
    let stream = &plan.stream;
    let count = sessions(plan);
    Genesis {
        core_version: CORE_VERSION,
        midnight: MIDNIGHT,
        day_of_year: 1,
        incarnation: b'A',
        feed_name: Alpha::new("BENCH").expect("a short name"),
        hash_seed: 0x1234_5678_9ABC_DEF1,
        capacities: Capacities { orders_max: slots(plan.live_max), price_pages_max: pages(stream) },
        symbols: (0..stream.symbols).map(|i| symbol(stream, i)).collect(),
        firms: vec![Alpha::new("FIRM").expect("a short name")],
        accounts: (0..count)
            .map(|i| AccountSpec {
                name: Alpha::new(&format!("{i:04}")).expect("a short name"),
                firm: 0,
                cash: Notional(FUNDS),
                // Limits that are checked and never reached.
                limits: Limits {
                    order_quantity_max: 999_999,
                    order_notional_max: Notional(FUNDS),
                    day_shares_max: FUNDS,
                },
                positions: (1..=stream.symbols as u16).map(|l| (Locate(l), FUNDS)).collect(),
            })
            .collect(),
        sessions: (0..count as u16)
            .map(|i| SessionSpec {
                user: Alpha::new(&format!("U{i:04}")).expect("a short name"),
                firm: 0,
                default_account: AccountSlot(i),
            })
            .collect(),
    }
}

/// Stream ids by the count in an order reference: each accepted order and replace takes the next one.
fn ids_by_reference(plan: &Plan) -> Vec<u32> {
    let mut ids = vec![0];
    for (step, before) in plan.stream.steps.iter().zip(&plan.before) {
        let takes_one = match step.action {
            Action::New(_) => true,
            Action::Cancel => false,
            Action::Replace => before.lives && !before.keeps_place,
        };
        if takes_one {
            ids.push(step.id);
        }
    }
    ids
}

fn id_of(ids: &[u32], order_ref: OrderRef) -> u32 {
    ids.get((order_ref.0 >> 32) as usize).copied().unwrap_or(0)
}

impl Engine for Core {
    const SCOPE: &'static str = "core";
    type Command = command::Command<'static>;

    fn translate(plan: &Plan) -> Vec<Self::Command> {
        let stream = &plan.stream;
        let count = sessions(plan);
        let mut last_urn = vec![0; count as usize];
        let mut client_seq = vec![0; count as usize];
        let mut urn_of = vec![0; stream.id_max as usize + 1];
        let mut commands = Vec::with_capacity(stream.steps.len());
        for (step, before) in stream.steps.iter().zip(&plan.before) {
            let session = (step.owner % count) as usize;
            let urn = Urn(urn_of[step.id as usize]);
            let mut next_urn = || {
                last_urn[session] += 1;
                urn_of[step.id as usize] = last_urn[session];
                Urn(last_urn[session])
            };
            let total = Quantity(before.executed.saturating_add(step.quantity));
            let body = match step.action {
                Action::New(kind) => {
                    let whole = kind == Kind::FillOrKill;
                    MessageBody::Enter(Enter {
                        urn: next_urn(),
                        quantity: Quantity(step.quantity),
                        price: u64::from(match kind {
                            Kind::Market => Price::MARKET.0,
                            _ => price(step.price).0,
                        }),
                        symbol: symbol(stream, u32::from(step.symbol)).symbol,
                        account: Alpha::BLANK,
                        min_quantity: Quantity(if whole { step.quantity } else { 0 }),
                        cl_ord_id: Alpha::BLANK,
                        side: side(step.sell).letter(),
                        tif: if kind == Kind::Limit { b'0' } else { b'3' },
                        display: b'Y',
                        capacity: b'A',
                        iso: b'N',
                        cross: b'N',
                        flags: if whole { FLAG_MIN_QUANTITY } else { 0 },
                        zero: [0; 3],
                    })
                }
                Action::Cancel => MessageBody::Cancel(Cancel { urn, quantity: Quantity(0) }),
                Action::Replace if before.keeps_place => {
                    MessageBody::Cancel(Cancel { urn, quantity: total })
                }
                Action::Replace => MessageBody::Replace(Replace {
                    old_urn: urn,
                    // A dead order's replace is ignored, and takes no reference.
                    urn: if before.lives { next_urn() } else { Urn(last_urn[session] + 1) },
                    quantity: total,
                    tif: b'0',
                    display: b'Y',
                    iso: b'N',
                    zero: 0,
                    price: u64::from(price(step.price).0),
                    cl_ord_id: Alpha::BLANK,
                    zero_tail: [0; 2],
                }),
            };
            client_seq[session] += 1;
            let head = MessageHead {
                session: SessionSlot(session as u16),
                verdict: Verdict::Ok as u8,
                body: 0,
                generation: 1,
                client_seq: client_seq[session],
                received: MIDNIGHT,
            };
            commands.push(Command::Message(head, body));
        }
        commands
    }

    fn fresh(plan: &Plan) -> Core {
        let genesis = genesis(plan);
        let exchange = Exchange::new(&genesis).expect("the bench's genesis is consistent");
        // Written to, so that no page is touched for the first time while the clock runs.
        let blank = RefFill {
            taker: OrderRef(1),
            maker: OrderRef(1),
            price: Price(1),
            quantity: Quantity(1),
        };
        let mut fills = vec![blank; plan.expected.fills.fills as usize + 1];
        fills.clear();
        let mut core = Core { exchange, tape: Tape { fills, maker: OrderRef(0), fold: 0 }, seq: 0 };
        core.apply(&Command::Genesis(genesis.encode().leak()));
        for slot in 0..genesis.sessions.len() as u16 {
            core.apply(&Command::Login(Login {
                session: SessionSlot(slot),
                flags: 0,
                version: 1,
                generation: 1,
                token: Alpha::BLANK,
                dead_time_ms: 5_000,
                client_nonce: [0; 16],
                server_nonce: [0; 16],
                ip: [127, 0, 0, 1],
                port: 1,
                zero: [0; 6],
                login_time: Nanos(1),
                received: Nanos(1),
            }));
        }
        core.apply(&Command::Phase(Phase::Open));
        core
    }

    #[inline(always)]
    fn apply(&mut self, command: &Self::Command) {
        self.seq += 1;
        let time = MIDNIGHT.plus(self.seq * STEP_NS);
        self.exchange.apply(Seq(self.seq), time, command, &mut self.tape);
    }

    fn start_timed(&mut self) {
        self.tape.fills.clear();
    }

    fn outcome(&self, plan: &Plan) -> Outcome {
        std::hint::black_box(self.tape.fold);
        let ids = ids_by_reference(plan);
        let mut fills = Totals::default();
        for fill in &self.tape.fills {
            fills.add(Fill {
                taker: id_of(&ids, fill.taker),
                maker: id_of(&ids, fill.maker),
                price: fill.price.0 / TICK,
                quantity: fill.quantity.0,
            });
        }
        let mut book = BookTotals::default();
        for symbol in 0..plan.stream.symbols {
            for side in [Side::Buy, Side::Sell] {
                let locate = Locate(symbol as u16 + 1);
                let mut orders: Vec<_> = self.exchange.orders(locate, side).collect();
                // Best first becomes ascending; stable, so the queue order of a price stays.
                orders.sort_by_key(|order| order.price);
                for order in orders {
                    let id = id_of(&ids, order.order_ref);
                    let sell = side == Side::Sell;
                    book.add(u64::from(symbol), sell, order.price.0 / TICK, id, order.open.0);
                }
            }
        }
        Outcome { fills, book }
    }
}
