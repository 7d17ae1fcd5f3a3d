//! Commands: everything that `apply` depends on, as it stands in the command log.
//!
//! Consumes and produces the payloads of command-log records (little-endian, tables below);
//! sequence number and time stand in the record's header, not here. Must not know sockets, OUCH
//! bytes or files: the gateway translates, the sequencer copies the payload without reading it.

use crate::types::*;

/// Record kinds of the command log.
pub mod kind {
    /// First record of a day: everything that is not a later command.
    pub const GENESIS: u16 = 1;
    /// One block of a bound session.
    pub const MESSAGE: u16 = 2;
    /// A valid login.
    pub const LOGIN: u16 = 3;
    /// A logoff that carried the client's next sequence.
    pub const LOGOFF: u16 = 4;
    /// A session was silent for its dead time.
    pub const SESSION_DOWN: u16 = 5;
    /// Time passes (every 100 ms).
    pub const TICK: u16 = 6;
    /// The market's phase changes.
    pub const PHASE: u16 = 7;
    /// A symbol is halted or resumed.
    pub const SYMBOL_STATE: u16 = 8;
    /// Goes on with a bounded mass action.
    pub const CONTINUE: u16 = 9;
    /// The day is over.
    pub const END_OF_DAY: u16 = 10;
    /// What the whole exchange takes changes.
    pub const MODE: u16 = 11;
}

/// The gateway's verdict on a block (session.md 8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Verdict {
    /// Well-formed, within the rate.
    Ok = 0,
    /// Not a message of OUCH 5.0 as offered here.
    Malformed = 1,
    /// The session's rate is used up.
    Throttled = 2,
}

layout! {
    /// Head of every MESSAGE payload.
    pub struct MessageHead: 24 {
        /// Session the block came in on.
        0 session: SessionSlot,
        /// [`Verdict`].
        2 verdict: u8,
        /// Which body follows: one of [`body`].
        3 body: u8,
        /// Login generation under which it was received.
        4 generation: u32,
        /// Client sequence number of the block.
        8 client_seq: u64,
        /// Time of receipt at the gateway.
        16 received: Nanos,
    }
}

/// Values of [`MessageHead::body`].
pub mod body {
    /// [`super::Enter`] follows.
    pub const ENTER: u8 = b'O';
    /// [`super::Replace`] follows.
    pub const REPLACE: u8 = b'U';
    /// [`super::Cancel`] follows.
    pub const CANCEL: u8 = b'X';
    /// Account query; nothing follows.
    pub const QUERY: u8 = b'Q';
    /// [`super::Unparsed`] follows.
    pub const UNPARSED: u8 = b'?';
}

layout! {
    /// New order (OUCH O).
    pub struct Enter: 56 {
        /// Client's reference.
        0 urn: Urn,
        /// Shares.
        4 quantity: Quantity,
        /// Limit, or 0x7FFFFFFF for market; as on the wire, unchecked.
        8 price: u64,
        /// Symbol.
        16 symbol: Symbol,
        /// Account (tag 2), blank when absent.
        24 account: AccountName,
        /// Minimum quantity (tag 3), 0 when absent.
        28 min_quantity: Quantity,
        /// Client order id, echoed.
        32 cl_ord_id: ClOrdId,
        /// Side letter, unchecked.
        46 side: u8,
        /// Time in force letter, unchecked.
        47 tif: u8,
        /// Display letter, unchecked.
        48 display: u8,
        /// Capacity letter, unchecked.
        49 capacity: u8,
        /// Intermarket sweep letter, unchecked.
        50 iso: u8,
        /// Cross letter, unchecked.
        51 cross: u8,
        /// Tags present: [`FLAG_ACCOUNT`], [`FLAG_MIN_QUANTITY`].
        52 flags: u8,
        /// Zero.
        53 zero: [u8; 3],
    }
}

/// The message carried tag 2 (Firm = account).
pub const FLAG_ACCOUNT: u8 = 1;
/// The message carried tag 3 (MinQty).
pub const FLAG_MIN_QUANTITY: u8 = 2;

layout! {
    /// Replace (OUCH U).
    pub struct Replace: 40 {
        /// Reference of the order to replace.
        0 old_urn: Urn,
        /// Reference of the new order.
        4 urn: Urn,
        /// Executed in the whole chain plus the open quantity wanted.
        8 quantity: Quantity,
        /// Time in force letter, unchecked.
        12 tif: u8,
        /// Display letter, unchecked.
        13 display: u8,
        /// Intermarket sweep letter, unchecked.
        14 iso: u8,
        /// Zero.
        15 zero: u8,
        /// Limit, unchecked.
        16 price: u64,
        /// Client order id, echoed.
        24 cl_ord_id: ClOrdId,
        /// Zero.
        38 zero_tail: [u8; 2],
    }
}

layout! {
    /// Cancel (OUCH X).
    pub struct Cancel: 8 {
        /// Order to cancel.
        0 urn: Urn,
        /// Executed in the whole chain plus the open quantity that shall stay; 0 = nothing.
        4 quantity: Quantity,
    }
}

layout! {
    /// What is left of a block that is no message (session.md 10).
    pub struct Unparsed: 20 {
        /// Type letter where there was one: `O` of 5 bytes or more, `U` of 9 or more are answered
        /// with Rejected; 0 and anything else with NotApplied.
        0 letter: u8,
        /// 1 when `urn` was in the block.
        1 has_urn: u8,
        /// New reference, where the block was long enough.
        2 urn: Urn,
        /// Client order id, blank where the block was too short.
        6 cl_ord_id: ClOrdId,
    }
}

layout! {
    /// A login whose HMAC the gateway has checked. What it grants is decided there; the exchange
    /// keeps it, so that failover keeps sessions.
    pub struct Login: 80 {
        /// Session.
        0 session: SessionSlot,
        /// Flags granted: 1 cancel on disconnect, 2 packet MAC.
        2 flags: u8,
        /// Protocol version.
        3 version: u8,
        /// Generation drawn: the committed one + 1; another value is ignored.
        4 generation: u32,
        /// Token drawn.
        8 token: Token,
        /// Dead time granted, ms.
        18 dead_time_ms: u16,
        /// Client's nonce.
        20 client_nonce: [u8; 16],
        /// Gateway's nonce.
        36 server_nonce: [u8; 16],
        /// Source address.
        52 ip: [u8; 4],
        /// Source port.
        56 port: u16,
        /// Zero.
        58 zero: [u8; 6],
        /// The client's time in L, ns since 1970 UTC; must increase.
        64 login_time: Nanos,
        /// Time of receipt at the gateway.
        72 received: Nanos,
    }
}

layout! {
    /// Logoff of a client whose next sequence equals the exchange's.
    pub struct Logoff: 24 {
        /// Session.
        0 session: SessionSlot,
        /// Zero.
        2 zero: [u8; 2],
        /// Login generation.
        4 generation: u32,
        /// Client's next sequence.
        8 client_next: u64,
        /// Time of receipt at the gateway.
        16 received: Nanos,
    }
}

layout! {
    /// The session was silent for its dead time.
    pub struct SessionDown: 8 {
        /// Session.
        0 session: SessionSlot,
        /// Zero.
        2 zero: [u8; 2],
        /// Login generation that died; a stale one is ignored.
        4 generation: u32,
    }
}

/// Market phases.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Before the market opens: no orders, cancels only.
    PreOpen = 0,
    /// Continuous trading.
    Open = 1,
    /// After the close: no orders, cancels only.
    Closed = 2,
}

layout! {
    /// The market's phase changes.
    pub struct PhaseChange: 8 {
        /// [`Phase`].
        0 phase: u8,
        /// Zero.
        1 zero: [u8; 7],
    }
}

/// What the whole exchange takes, whatever the phase. Logins, reports, replay and repair go on in each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Mode {
    /// Everything.
    #[default]
    Normal = 0,
    /// Cancels; nothing that may match or rest.
    CancelOnly = 1,
    /// Neither orders nor cancels.
    Halt = 2,
}

impl Mode {
    /// From a log's byte or a shared word.
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Mode> {
        match byte {
            0 => Some(Mode::Normal),
            1 => Some(Mode::CancelOnly),
            2 => Some(Mode::Halt),
            _ => None,
        }
    }

    /// Why an order or a replace is refused in this mode; `None` = it is not.
    #[inline(always)]
    pub fn refuses(self) -> Option<RejectReason> {
        match self {
            Mode::Normal => None,
            Mode::CancelOnly => Some(RejectReason::CancelsOnly),
            Mode::Halt => Some(RejectReason::Halted),
        }
    }
}

layout! {
    /// What the whole exchange takes changes.
    pub struct ModeChange: 8 {
        /// [`Mode`].
        0 mode: u8,
        /// Zero.
        1 zero: [u8; 7],
    }
}

layout! {
    /// A symbol is halted (`H`) or trades (`T`).
    pub struct SymbolState: 8 {
        /// Symbol.
        0 locate: Locate,
        /// ITCH trading state letter.
        2 state: u8,
        /// Zero.
        3 zero: u8,
        /// ITCH reason.
        4 reason: Alpha<4>,
    }
}

/// Body of a MESSAGE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageBody {
    /// New order.
    Enter(Enter),
    /// Replace.
    Replace(Replace),
    /// Cancel.
    Cancel(Cancel),
    /// Account query.
    Query,
    /// Not a message.
    Unparsed(Unparsed),
}

/// One command, decoded from a record's kind and payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// [`kind::GENESIS`]; the bytes are read by `Genesis::decode`.
    Genesis(&'a [u8]),
    /// [`kind::MESSAGE`].
    Message(MessageHead, MessageBody),
    /// [`kind::LOGIN`].
    Login(Login),
    /// [`kind::LOGOFF`].
    Logoff(Logoff),
    /// [`kind::SESSION_DOWN`].
    SessionDown(SessionDown),
    /// [`kind::TICK`].
    Tick,
    /// [`kind::PHASE`].
    Phase(Phase),
    /// [`kind::SYMBOL_STATE`].
    SymbolState(SymbolState),
    /// [`kind::CONTINUE`].
    Continue,
    /// [`kind::END_OF_DAY`].
    EndOfDay,
    /// [`kind::MODE`].
    Mode(Mode),
}

/// Longest payload of any command but Genesis: a ring slot holds it.
pub const COMMAND_BYTES_MAX: usize = 80;

impl<'a> Command<'a> {
    /// Reads a command from a record; `None` when kind or payload is none of ours.
    #[inline]
    pub fn decode(kind: u16, payload: &'a [u8]) -> Option<Command<'a>> {
        Some(match kind {
            kind::GENESIS => Command::Genesis(payload),
            kind::MESSAGE => {
                let head = MessageHead::get(payload)?;
                let rest = payload.get(MessageHead::SIZE..)?;
                let body = match head.body {
                    body::ENTER => MessageBody::Enter(Enter::get(rest)?),
                    body::REPLACE => MessageBody::Replace(Replace::get(rest)?),
                    body::CANCEL => MessageBody::Cancel(Cancel::get(rest)?),
                    body::QUERY => MessageBody::Query,
                    body::UNPARSED => MessageBody::Unparsed(Unparsed::get(rest)?),
                    _ => return None,
                };
                Command::Message(head, body)
            }
            kind::LOGIN => Command::Login(Login::get(payload)?),
            kind::LOGOFF => Command::Logoff(Logoff::get(payload)?),
            kind::SESSION_DOWN => Command::SessionDown(SessionDown::get(payload)?),
            kind::TICK => Command::Tick,
            kind::PHASE => Command::Phase(match PhaseChange::get(payload)?.phase {
                0 => Phase::PreOpen,
                1 => Phase::Open,
                2 => Phase::Closed,
                _ => return None,
            }),
            kind::SYMBOL_STATE => Command::SymbolState(SymbolState::get(payload)?),
            kind::CONTINUE => Command::Continue,
            kind::END_OF_DAY => Command::EndOfDay,
            kind::MODE => Command::Mode(Mode::from_byte(ModeChange::get(payload)?.mode)?),
            _ => return None,
        })
    }

    /// Record kind and length of the payload, bytes.
    #[inline]
    pub fn size(&self) -> (u16, usize) {
        match self {
            Command::Genesis(bytes) => (kind::GENESIS, bytes.len()),
            Command::Message(_, body) => (kind::MESSAGE, MessageHead::SIZE + body.size()),
            Command::Login(_) => (kind::LOGIN, Login::SIZE),
            Command::Logoff(_) => (kind::LOGOFF, Logoff::SIZE),
            Command::SessionDown(_) => (kind::SESSION_DOWN, SessionDown::SIZE),
            Command::Tick => (kind::TICK, 0),
            Command::Phase(_) => (kind::PHASE, PhaseChange::SIZE),
            Command::SymbolState(_) => (kind::SYMBOL_STATE, SymbolState::SIZE),
            Command::Continue => (kind::CONTINUE, 0),
            Command::EndOfDay => (kind::END_OF_DAY, 0),
            Command::Mode(_) => (kind::MODE, ModeChange::SIZE),
        }
    }

    /// Writes the payload, each byte of it once, to the start of `out` (at least the length that
    /// [`Command::size`] says, else panics).
    #[inline]
    pub fn write(&self, out: &mut [u8]) {
        match self {
            Command::Genesis(bytes) => out[..bytes.len()].copy_from_slice(bytes),
            Command::Message(head, body) => {
                let letter = body.write(&mut out[MessageHead::SIZE..]);
                MessageHead { body: letter, ..*head }.put(out);
            }
            Command::Login(m) => m.put(out),
            Command::Logoff(m) => m.put(out),
            Command::SessionDown(m) => m.put(out),
            Command::Phase(phase) => PhaseChange { phase: *phase as u8, zero: [0; 7] }.put(out),
            Command::SymbolState(m) => m.put(out),
            Command::Mode(mode) => ModeChange { mode: *mode as u8, zero: [0; 7] }.put(out),
            Command::Tick | Command::Continue | Command::EndOfDay => {}
        }
    }

    /// [`Command::write`], for who has a buffer of [`COMMAND_BYTES_MAX`] bytes (or the Genesis bytes)
    /// and not the record itself; returns what [`Command::size`] does.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> (u16, usize) {
        self.write(out);
        self.size()
    }
}

impl MessageBody {
    /// Bytes behind the head.
    #[inline]
    fn size(&self) -> usize {
        match self {
            MessageBody::Enter(_) => Enter::SIZE,
            MessageBody::Replace(_) => Replace::SIZE,
            MessageBody::Cancel(_) => Cancel::SIZE,
            MessageBody::Query => 0,
            MessageBody::Unparsed(_) => Unparsed::SIZE,
        }
    }

    /// Writes it to the start of `out`; its letter, one of [`body`].
    #[inline]
    fn write(&self, out: &mut [u8]) -> u8 {
        match self {
            MessageBody::Enter(m) => {
                m.put(out);
                body::ENTER
            }
            MessageBody::Replace(m) => {
                m.put(out);
                body::REPLACE
            }
            MessageBody::Cancel(m) => {
                m.put(out);
                body::CANCEL
            }
            MessageBody::Query => body::QUERY,
            MessageBody::Unparsed(m) => {
                m.put(out);
                body::UNPARSED
            }
        }
    }
}

const _: () = assert!(MessageHead::SIZE + Enter::SIZE <= COMMAND_BYTES_MAX);
const _: () = assert!(Login::SIZE <= COMMAND_BYTES_MAX);
