//! What is measured: the rows (who serves, who asks), the parts (how orders come), and one round of
//! one server: start it, connect, every part, stop it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use af_xdp::Mode;
use rialto::agent::Agent;
use rialto::clock::{Clock, SystemClock};
use rialto::host::wire::{INTERFACE, Side};
use rialto::net::xdp::{Nic, NicConfig, Path, PathWish};
use rialto::net::{Port, UdpPort};
use serde_json::Value;

use super::client::{Client, Outcome, PATIENCE_NS, SILENCE_NS, Seat, name};
use super::flow::Flow;
use super::place::{Cpus, Place, take_cpu};
use super::raw::Floor;
use super::venue::{Setting, Venue};
use super::{RATES, echo, login, raw};

/// Where the server listens, and where clients send from.
const GATEWAY_PORT: u16 = 7_000;
const KERNEL_CLIENT_PORT: u16 = 7_100;
const XDP_CLIENT_PORT: u16 = 7_101;
/// Lines A and B; nobody listens on the other side, as on a wire behind which switches copy.
pub const GROUPS: [SocketAddrV4; 2] = [
    SocketAddrV4::new(Ipv4Addr::new(239, 192, 7, 1), 7_201),
    SocketAddrV4::new(Ipv4Addr::new(239, 192, 7, 2), 7_202),
];
/// Orders that rest in the venue's book before anything is measured.
pub const BOOK_ORDERS: u64 = 4_000;
/// Orders in a datagram of those.
const BOOK_PACKED: usize = 25;
/// Ten times this long orders go back and forth before anything is measured.
const WARM_UP_NS: u64 = 15_000_000;

/// Who serves and who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    /// a
    BlockingEcho,
    /// b
    SpinningEcho,
    /// c
    Floor,
    /// d
    VenueKernel,
    /// e
    VenueKernelClient,
    /// f
    VenueXdp,
}

impl Row {
    /// In their order.
    pub const ALL: [Row; 6] = [
        Row::BlockingEcho,
        Row::SpinningEcho,
        Row::Floor,
        Row::VenueKernel,
        Row::VenueKernelClient,
        Row::VenueXdp,
    ];

    /// Index in [`Row::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its letter.
    pub fn letter(self) -> char {
        ['a', 'b', 'c', 'd', 'e', 'f'][self.index()]
    }

    /// What it is, in some words.
    pub fn title(self) -> &'static str {
        [
            "kernel UDP echo, blocking",
            "kernel UDP echo, spinning",
            "AF_XDP echo, same frames (floor)",
            "rialto, kernel UDP",
            "rialto, AF_XDP; kernel client",
            "rialto, AF_XDP; AF_XDP client",
        ][self.index()]
    }

    fn client_is_xdp(self) -> bool {
        matches!(self, Row::Floor | Row::VenueXdp)
    }
}

/// How orders come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// Orders a second, on a schedule; 0 = one order in flight.
    pub rate: u64,
    /// Orders in each datagram.
    pub packed: usize,
    /// Length, ms.
    pub ms: u64,
}

impl Part {
    /// As rows are named: "one in flight", "50k/s single", "50k/s packed".
    pub fn name(&self) -> String {
        match (self.rate, self.packed) {
            (0, _) => "one in flight".into(),
            (rate, 1) => format!("{}k/s single", rate / 1_000),
            (rate, packed) => format!("{}k/s packed {packed}", rate / 1_000),
        }
    }

    /// Whether nothing excuses an order without an answer: one in flight, and the lowest rate.
    pub fn loses_nothing(&self) -> bool {
        self.rate <= RATES[0]
    }

    fn patience_ns(&self) -> u64 {
        if self.loses_nothing() { PATIENCE_NS } else { SILENCE_NS }
    }
}

/// What every round has.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Binary of the venue.
    pub program: std::path::PathBuf,
    /// Rungs of AF_XDP that may be taken, at every end.
    pub path: PathWish,
    /// CPUs.
    pub cpus: Cpus,
    /// Sessions, even.
    pub sessions: u32,
    /// Parts in their order.
    pub parts: Vec<Part>,
}

/// One round of one row.
pub struct Run {
    /// Which.
    pub row: Row,
    /// In the order of [`Plan::parts`].
    pub outcomes: Vec<Outcome>,
    /// The way that the server's datagrams took.
    pub path: String,
    /// The venue's status behind the first part, and behind the last.
    pub status: Option<[Value; 2]>,
}

/// Where orders come in.
pub fn gateway(place: &Place) -> SocketAddrV4 {
    SocketAddrV4::new(place.server(), GATEWAY_PORT)
}

/// What a venue of this plan is told.
pub fn setting(place: &Place, plan: &Plan, path: PathWish) -> Setting {
    Setting {
        program: plan.program.clone(),
        path,
        cpus: plan.cpus,
        sessions: plan.sessions,
        gateway: gateway(place),
        groups: GROUPS,
    }
}

/// One round of `rows`, which share a server.
pub fn round(place: &Place, plan: &Plan, rows: &[Row]) -> Result<Vec<Run>, String> {
    match rows {
        [row @ (Row::BlockingEcho | Row::SpinningEcho | Row::Floor)] => {
            Ok(vec![echoed(place, plan, *row)?])
        }
        _ => {
            let wish = if rows == [Row::VenueKernel] { PathWish::Udp } else { plan.path };
            let mut venue = Venue::start(place, &setting(place, plan, wish))?;
            let mut runs = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                runs.push(asked(place, plan, *row, Some((&mut venue, i == 0)))?);
            }
            venue.stop()?;
            Ok(runs)
        }
    }
}

/// A server on a thread of this process, on the other host.
fn echoed(place: &Place, plan: &Plan, row: Row) -> Result<Run, String> {
    let stop = Arc::new(AtomicBool::new(false));
    let at = gateway(place);
    let floor = Floor {
        interface: INTERFACE.into(),
        modes: plan.path.modes(),
        at,
        groups: GROUPS,
        sessions: plan.sessions,
    };
    std::thread::scope(|scope| {
        let (tell, told) = channel();
        let server = scope.spawn({
            let stop = stop.clone();
            move || {
                enter(&place.wire.exchange)?;
                take_cpu(plan.cpus.server, plan.cpus.fifo)?;
                // Who waits for it may have given up.
                let ready = |path: Path| drop(tell.send(path.to_string()));
                match row {
                    Row::BlockingEcho => echo::blocking(at, &stop, || ready(Path::Udp)),
                    Row::SpinningEcho => echo::spinning(at, &stop, || ready(Path::Udp)),
                    _ => raw::serve(&floor, &stop, |mode| ready(path_of(mode))),
                }
            }
        });
        // Without a word the server's own error is the one to tell.
        let run = told.recv().map_err(|_| "no server".to_string()).and_then(|path| {
            let mut run = asked(place, plan, row, None)?;
            run.path = path;
            Ok(run)
        });
        stop.store(true, Ordering::Relaxed);
        let served = server.join().unwrap_or_else(|_| Err("the server panicked".into()));
        served.and(run)
    })
}

fn path_of(mode: Mode) -> Path {
    match mode {
        Mode::NativeZeroCopy => Path::NativeZeroCopy,
        Mode::NativeCopy => Path::NativeCopy,
        Mode::Generic => Path::Generic,
    }
}

/// Moves the calling thread to one of both hosts.
pub fn enter(side: &Side) -> Result<(), String> {
    side.enter().map_err(|e| format!("enter a network namespace: {e}"))
}

/// The client's side of a row; with a venue, and whether its book is still empty.
fn asked(
    place: &Place,
    plan: &Plan,
    row: Row,
    venue: Option<(&mut Venue, bool)>,
) -> Result<Run, String> {
    std::thread::scope(|scope| {
        let client = scope.spawn(move || {
            enter(&place.wire.clients)?;
            take_cpu(plan.cpus.client, plan.cpus.fifo)?;
            with_port(place, plan, row, |port, errand| match port {
                Either::Kernel(port) => parts(place, plan, row, port, errand, venue),
                Either::Xdp(port) => parts(place, plan, row, port, errand, venue),
            })
        });
        client.join().unwrap_or_else(|_| Err("the client panicked".into()))
    })
}

/// The client's port.
pub enum Either {
    /// A socket.
    Kernel(UdpPort),
    /// Past the kernel.
    Xdp(rialto::net::XdpPort),
}

/// Opens the client's port on the calling thread's host, and calls `job` with it and with what must
/// be called now and then until the server's Ethernet address is known.
pub fn with_port<R>(
    place: &Place,
    plan: &Plan,
    row: Row,
    job: impl FnOnce(Either, &mut dyn FnMut()) -> Result<R, String>,
) -> Result<R, String> {
    let at = |port| SocketAddrV4::new(place.client(), port);
    if !row.client_is_xdp() {
        let port = UdpPort::bind(at(KERNEL_CLIENT_PORT)).map_err(|e| e.to_string())?;
        return job(Either::Kernel(port), &mut || {});
    }
    let local = at(XDP_CLIENT_PORT);
    let config = NicConfig {
        interface: INTERFACE.into(),
        queues: vec![0],
        modes: plan.path.modes(),
        destinations: vec![local],
        busy_poll: false,
    };
    let mut nic = Nic::open(&config).map_err(|e| format!("AF_XDP at the client: {e}"))?;
    let port = nic.bind(local).map_err(|e| e.to_string())?;
    let mut duties = nic.start().map_err(|e| e.to_string())?;
    let port = port.alone(duties.receive, duties.transmit);
    let clock = SystemClock::new();
    job(Either::Xdp(port), &mut || {
        duties.errand.duty_cycle(clock.now());
    })
}

/// Connects and runs every part.
fn parts<P: Port>(
    place: &Place,
    plan: &Plan,
    row: Row,
    mut port: P,
    errand: &mut dyn FnMut(),
    mut venue: Option<(&mut Venue, bool)>,
) -> Result<Run, String> {
    let clock = SystemClock::new();
    let server = gateway(place);
    let seats = match venue {
        Some(_) => login::seats(&mut port, server, &clock, plan.sessions, &mut *errand)?,
        None => (0..plan.sessions).map(|s| Seat::new(name(s), 1, Flow::new(s, 1))).collect(),
    };
    let mut client = Client::new(port, server, clock, seats);
    if let Some((_, true)) = venue {
        client.fill_book(BOOK_ORDERS, BOOK_PACKED)?;
    }
    let mut warm = Outcome::new();
    for _ in 0..10 {
        errand();
        warm.add(&client.one_in_flight(WARM_UP_NS, SILENCE_NS));
    }
    if warm.unanswered > warm.sent / 2 {
        return Err(format!("row {}: nothing answers", row.letter()));
    }
    let mut outcomes = Vec::new();
    let mut first_status = None;
    for part in &plan.parts {
        outcomes.push(match part.rate {
            0 => client.one_in_flight(part.ms * 1_000_000, part.patience_ns()),
            rate => {
                let orders = rate * part.ms / 1_000;
                client.open_loop(rate, part.packed, orders, part.patience_ns())?
            }
        });
        if let Some((venue, _)) = &mut venue
            && first_status.is_none()
        {
            first_status = Some(venue.status()?.1);
        }
    }
    let mut run = Run { row, outcomes, path: String::new(), status: None };
    if let (Some((venue, _)), Some(first)) = (venue, first_status) {
        run.path = venue.path.clone();
        run.status = Some([first, venue.status()?.1]);
    }
    Ok(run)
}
