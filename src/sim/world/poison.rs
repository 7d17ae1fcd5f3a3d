//! A message that kills the exchange whenever it is applied: what the dead runs leave, what the operators
//! do about it, and what the next starts must make of it (guard.md).
//!
//! The engine itself dies of nothing here: it is killed where it would begin with the message, or where it
//! has written the message's events and nobody has read them, and the guard notes that as it does for a
//! panic. Must not know what the message says.

use super::host::Host;
use super::{MS, World};
use crate::board::EngineStatus;
use crate::exchange::command::kind;
use crate::guard::{DEATHS_MAX, Guard, Place, Void, command_checksum, crash};
use crate::sim::Happening;
use crate::store::{Day, LogIndex};
use crate::types::*;
use std::path::PathBuf;

/// Halted, it is restarted at the operator's next look.
const HALTED_NS: u64 = 100 * MS;
/// The operators see to it so much later at most.
const HALT_NS_MAX: u64 = 1_500 * MS;

/// A message that will kill the exchange.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Poison {
    /// Runs that die of it, one after the other.
    pub(super) deaths: u32,
    /// It is voided only when a start stands before it.
    pub(super) halts: bool,
    /// It dies behind the message's events.
    pub(super) behind: bool,
    /// The exchange is down for so long.
    pub(super) down_ns: u64,
}

/// What the dead runs have noted, until a start is past it.
pub(super) struct Drill {
    day: PathBuf,
    command: Seq,
    /// The next start has to stand before it.
    halts: bool,
    /// Last command of the log when one does, and when the operators see to it.
    stands: (Seq, u64),
}

/// A command that is about to be applied, and its checksum.
pub(super) type Killer = (Seq, u32);

/// What the engine applies next, when that is a message of a member which the observers have not read.
pub(super) fn next_message(
    host: &Host,
    day: &Day,
    status: &EngineStatus,
    shown: Seq,
) -> Option<Killer> {
    let next = Seq(status.applied().0 + 1);
    let committed = day.control().committed(LogIndex::Command).seq;
    if next > committed || next <= shown || status.halted_before().is_some() {
        return None;
    }
    let view = host.view(day.dir()).ok()?;
    let mut reader = view.log(LogIndex::Command).reader().ok()?;
    let there = reader.seek_seq(next).ok()?;
    let record = reader.next().ok()?.filter(|record| there && record.kind == kind::MESSAGE)?;
    Some((record.seq, command_checksum(record.seq, record.kind, record.payload)))
}

impl World<'_> {
    /// The exchange dies of this command, and so do the starts that follow at once. Returns for how long
    /// it is down.
    pub(super) fn kill_by(&mut self, (command, checksum): Killer) -> u64 {
        let Some(poison) = self.poison.take() else { return MS };
        let day = self.exchange.as_ref().map(|exchange| exchange.facts.day.clone());
        if let Some(day) = day
            && let Some(place) = self.host.guard_place(&day)
        {
            for _ in 0..poison.deaths {
                let known = |seq| Ok((seq == command).then_some(checksum));
                if let Ok(guard) = Guard::look(place.clone(), &[], known) {
                    guard.died(command, checksum, "poison");
                }
            }
            let voided = !poison.halts && self.sign(&place);
            let halts = poison.deaths >= DEATHS_MAX && !voided;
            self.note(|_| format!("command {} kills it: {poison:?}", command.0));
            self.drill = Some(Drill { day, command, halts, stands: (Seq(0), 0) });
            if poison.deaths >= DEATHS_MAX {
                self.tell(Happening::Voided { command: command.0 });
            }
        }
        self.counts.poisoned += 1;
        poison.down_ns
    }

    /// Both operators void the command that the crash file names; false = not both of them could.
    fn sign(&self, place: &Place) -> bool {
        let Ok(Some(crash)) = crash::read(&*place.storage, &place.dir) else { return false };
        let mut signed = self.config.operators.iter();
        signed.all(|operator| Void::sign(place, &crash, operator).store(place).is_ok())
    }

    /// The exchange has just started: it stands before a command that killed it twice and is not void, and
    /// else before none; whoever got past one forgets it.
    pub(super) fn check_drill(&mut self) {
        let Some(exchange) = &self.exchange else { return };
        let facts = &exchange.facts;
        let (day, halted) = (facts.day.clone(), facts.halted.as_ref().map(|crash| crash.command));
        let written = exchange.control().written(LogIndex::Command).seq;
        let drill = self.drill.take().filter(|drill| drill.day == day);
        let wanted = drill.as_ref().filter(|drill| drill.halts).map(|drill| drill.command);
        let noted = self.host.look(&crash::path(&day)).is_some();
        if halted != wanted {
            let what = format!("{halted:?}, it should be {wanted:?}");
            self.violate("a start stands before the wrong command", what);
        } else if noted != halted.is_some() {
            self.violate("a crash file outlived its command", format!("{}", day.display()));
        }
        if halted.is_some() {
            let wait_ns = self.chance.magnitude(MS, HALT_NS_MAX);
            let stands = (written, self.now + wait_ns);
            self.drill = drill.map(|drill| Drill { stands, ..drill });
            self.counts.stood_before += 1;
            self.tell(Happening::Stalled { ns: wait_ns + HALTED_NS });
        }
    }

    /// The operators void what the exchange stands before, and start it again.
    pub(super) fn void_what_halts(&mut self) {
        let Some(drill) = &self.drill else { return };
        let Some(exchange) = &self.exchange else { return };
        if !drill.halts || exchange.facts.halted.is_none() {
            return;
        }
        let (last, until) = drill.stands;
        let written = exchange.control().written(LogIndex::Command).seq;
        if written != last {
            let what = format!("command {}, it stands since {}", written.0, last.0);
            return self.violate("something was sequenced in a halt", what);
        }
        if self.now < until {
            return;
        }
        let Some(place) = self.host.guard_place(&drill.day) else { return };
        if self.host.is_troubled() || !self.sign(&place) {
            return self.tell(Happening::Stalled { ns: HALTED_NS });
        }
        if let Some(drill) = &mut self.drill {
            drill.halts = false;
        }
        self.note(|_| "the operators void it".into());
        self.stop_exchange(20 * MS, false);
    }
}
