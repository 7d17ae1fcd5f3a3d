//! Recovery: the newest snapshot that fits the logs, and what the agents take from it.
//!
//! Consumes a day whose logs are not open for writing yet; produces both logs recovered, and what was
//! loaded. Every agent that would otherwise read a whole log has its line here.

use super::StartError;
use crate::engine::{Engine, EngineError};
use crate::exchange::command::kind;
use crate::exchange::genesis::Genesis;
use crate::gateway::{Egress, Replayer, ResumedSession};
use crate::guard::Guard;
use crate::net::Port;
use crate::retransmitter::Retransmitter;
use crate::sequencer::outbound::Outbound;
use crate::snapshot::{self, Loaded, Reach, Trail};
use crate::store::{Control, Day, Log, LogIndex, ReadError, Recovered};
use crate::types::*;
use std::sync::Arc;

const _: () = assert!(crate::gateway::replay::STRIDE == snapshot::REPORT_STRIDE);
const _: () = assert!(crate::retransmitter::STRIDE == snapshot::FEED_STRIDE);

/// Recovers both logs: from the newest snapshot that fits, from an older one, from Genesis. What is wrong
/// with the logs behind a snapshot that fits, none that is older mends: the start is refused, and all
/// snapshots stay.
pub(super) fn recover(day: &Day) -> Result<(Option<Loaded>, [Recovered; 2]), StartError> {
    let logs = LogIndex::ALL.map(|log| day.log(log).for_snapshots());
    let (found, refused) = match genesis_of(&logs[LogIndex::Command as usize]) {
        Some(genesis) => snapshot::load(logs.each_ref(), &genesis),
        None => (None, Vec::new()),
    };
    for refusal in &refused {
        tracing::warn!("{} is passed over: {}", refusal.path.display(), refusal.why);
    }
    let recover = |index: LogIndex| match &found {
        Some(loaded) => loaded.recover(day.log(index), index),
        None => day.log(index).recover(),
    };
    let recovered = [recover(LogIndex::Command)?, recover(LogIndex::Event)?];
    snapshot::set_aside(&*logs[0].options().storage, &refused);
    Ok((found, recovered))
}

/// Genesis as far as it can be read; what is wrong with it, recovery of the whole log tells.
fn genesis_of(commands: &Log) -> Option<Genesis> {
    let mut reader = commands.reader_unbounded().ok()?;
    let first = reader.next().ok()??;
    (first.kind == kind::GENESIS).then(|| Genesis::decode(first.payload).ok()).flatten()
}

/// What is left for the agents when the exchange is out.
pub(super) struct Resumed {
    trail: Trail,
    commands: Reach,
    events: Reach,
}

/// The outbound sequencer that `loaded` or nothing gives: it compares the event log behind it.
pub(super) fn outbound(
    loaded: Option<&Loaded>,
    writer: crate::store::Writer,
    mut existing: crate::store::Reader,
    control: Arc<Control>,
    (term, sessions): (u32, usize),
) -> Outbound {
    if let Some(loaded) = loaded {
        let events = loaded.events();
        existing.seek_record(events.end, Seq(events.seq.0 + 1));
    }
    let outbound = Outbound::new(writer, existing, control, term, sessions);
    let positions = loaded.map_or(&[][..], |l| &l.snapshot.trail.sessions);
    outbound.resume(positions.iter().map(|s| s.position))
}

/// The engine, and what the other agents take.
pub(super) fn engine(
    loaded: Option<Loaded>,
    log: &Log,
    outbound: Outbound,
    status: Arc<crate::board::EngineStatus>,
    guard: Guard,
    make_room: impl FnMut() -> bool,
) -> Result<(Engine, Option<Resumed>), StartError> {
    let mut reader = log.reader()?.trusted();
    let Some(loaded) = loaded else {
        return Ok((Engine::start_guarded(reader, outbound, status, guard, make_room)?, None));
    };
    let (commands, events) = (*loaded.commands(), *loaded.events());
    reader.seek_record(commands.end, Seq(commands.seq.0 + 1));
    let last = (commands.seq, commands.time);
    let engine: Result<Engine, EngineError> =
        Engine::resume(reader, outbound, status, loaded.exchange, last, guard, make_room);
    Ok((engine?, Some(Resumed { trail: loaded.snapshot.trail, commands, events })))
}

impl Resumed {
    /// Commands that were not read.
    pub fn commands(&self) -> Seq {
        self.commands.seq
    }

    pub fn egress<P: Port, C: crate::clock::Clock>(
        &self,
        egress: &mut Egress<P, C>,
    ) -> Result<(), ReadError> {
        for (slot, session) in (0u16..).map(SessionSlot).zip(&self.trail.sessions) {
            let resumed = ResumedSession {
                applied: session.applied,
                next_report: session.report + 1,
                login: session.login,
                ended: session.ended,
            };
            egress.resume(slot, &resumed)?;
        }
        egress.resume_behind(self.events.seq, self.events.end, self.trail.day_ended);
        Ok(())
    }

    pub fn replayer<P: Port>(&self, replayer: &mut Replayer<P>) {
        for (slot, session) in (0u16..).map(SessionSlot).zip(&self.trail.sessions) {
            replayer.resume(slot, (session.report, session.position), &session.noted);
        }
        replayer.resume_behind(self.events.seq, self.events.end);
    }

    pub fn retransmitter<P: Port>(&self, retransmitter: &mut Retransmitter<P>) {
        let behind = (self.events.seq, self.events.end);
        let fits = retransmitter.resume(self.trail.feed, &self.trail.noted, behind);
        assert!(fits, "the snapshot's trail was checked");
    }
}
