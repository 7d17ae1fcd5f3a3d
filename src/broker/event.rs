//! What a broker's connection tells its owner.
//!
//! Produced by `Broker::poll`, in the order in which it holds: a `Settled` comes right after the
//! report that names its message (A, U or J): executions and cancels that it caused follow. When no
//! report names it, it comes after every report that it caused.

use std::net::SocketAddrV4;

use crate::types::*;
use crate::wire::ouch::Outbound;
use crate::wire::session::RefusedCode;

/// One thing that happened.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum BrokerEvent {
    /// A login was accepted; messages may be sent. Comes before the reports of this binding.
    LoggedIn(LoggedIn),
    /// A login was refused; tried again at `retry_at` without being asked to.
    Refused {
        /// Who said so.
        gateway: SocketAddrV4,
        /// Why. Not authenticated (SESSION, J): a hint.
        why: RefusedCode,
        /// Next attempt, at this gateway or the next one of the list.
        retry_at: Nanos,
    },
    /// The binding is gone. Unsettled messages are kept and sent after the next login, unless the
    /// exchange had applied them, or somebody else logged in between: then they are `Unknown`.
    Disconnected(Gone),
    /// The exchange goes on under another downstream name (a new day, or its memory was lost):
    /// own orders must be rebuilt from the reports that follow, numbered from 1 again, and
    /// compared with own records. Unsettled messages follow as `Settled { by: Unknown }`.
    SessionChanged {
        /// Name until now.
        old: SessionName,
        /// Name from now on.
        new: SessionName,
    },
    /// The next report, in order, each exactly once.
    Report {
        /// Its number in the downstream, from 1.
        number: u64,
        /// What it says.
        report: Outbound,
    },
    /// A report this library cannot read; it counts as delivered.
    UnknownReport {
        /// Its number.
        number: u64,
        /// First byte, 0 when empty.
        letter: u8,
    },
    /// A message is concluded: what became of it is known. How much of it has been reported by now
    /// stands at [`SettledBy`].
    Settled(Settled),
    /// The exchange answered a logoff; `Broker::login` starts again.
    LoggedOff,
    /// The day is over and every report of it was delivered, as far as the exchange still served
    /// them. What was not applied by then follows no more: it stands before as `Settled`, by
    /// `Withdrawn`. `Broker::login` logs in to the next day: refused with `NoSession`, or unanswered,
    /// until that begins; then `SessionChanged` with the new name and `LoggedIn`, and every number
    /// starts at 1.
    EndOfDay,
}

/// Facts of an accepted login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoggedIn {
    /// Gateway that answered.
    pub gateway: SocketAddrV4,
    /// Downstream name.
    pub name: SessionName,
    /// Exchange's next report number at the login.
    pub next_report: u64,
    /// Client sequence applied through.
    pub applied: u64,
    /// Next URN; 0 = used up.
    pub next_urn: u32,
    /// Dead time granted, ms.
    pub dead_time_ms: u16,
    /// Cancel on disconnect granted.
    pub cancel_on_disconnect: bool,
    /// Packet MAC granted.
    pub packet_mac: bool,
    /// Epoch of the exchange.
    pub epoch: u32,
    /// Logins of this session today, this one included.
    pub generation: u32,
}

/// What a refusal means and what mends it, for a person. Source: SESSION, own block J.
pub fn refusal_text(code: RefusedCode) -> &'static str {
    match code {
        RefusedCode::NotAuthorised => {
            "not authorised: check user name, key and allow-listed source address, and that the \
             gateway address is the one that the exchange calls public"
        }
        RefusedCode::NoSession => "no session: the day is over or the user is closed",
        RefusedCode::Time => {
            "time refused: this clock is more than 5 s off, or behind the last login; set it"
        }
        RefusedCode::BoundElsewhere => "bound elsewhere: log off there first",
        RefusedCode::NotLeader => "this gateway does not lead: give the other gateways' addresses",
    }
}

/// Why a binding ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// Nothing heard for the dead time; logging in again.
    Silence,
    /// The exchange says that the token is dead; logging in again.
    TokenDead,
    /// Another login of the same user took over. This one stays down until `Broker::login`, so
    /// that two processes do not chase each other.
    Displaced,
}

/// A concluded message, with what is needed to measure it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    /// Client sequence.
    pub sequence: u64,
    /// URN it brought; 0 for cancel and query.
    pub urn: Urn,
    /// Type letter: O, U, X, Q.
    pub kind: u8,
    /// Time of the poll or flush that first handed it to the socket.
    pub first_sent: Nanos,
    /// Time of the poll that concluded it.
    pub at: Nanos,
    /// Transmissions, 1 = no repeat.
    pub transmissions: u16,
    /// How it is known.
    pub by: SettledBy,
}

/// How a message was concluded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettledBy {
    /// A, U or J named its URN (the report stands right before). Executions and cancels of the order
    /// may follow, also those that happened at once.
    Report,
    /// Applied, and every report through that moment was delivered: what it caused, if anything,
    /// stands before.
    Applied,
    /// N covered it: it was not applied and never will be. Whoever still wants it sends it again
    /// under a new URN.
    NotApplied,
    /// Taken back and not sent again. Either above what the exchange had applied at a new login
    /// (`keep_unsettled = false`): it was not applied. Or the day ended before it, and every report
    /// of that day is here: it was not applied, or had no effect.
    Withdrawn,
    /// The exchange goes on under another name (`SessionChanged`); or there was another login between
    /// the last one and this, another process's or one whose answer was lost, so that the number may
    /// stand for another process's message; or the day ended and its last reports could not be had. It may
    /// have been applied: only reports tell, and under the same name they have told once
    /// `Broker::is_caught_up` after the login. Do not send it again before.
    Unknown,
}
