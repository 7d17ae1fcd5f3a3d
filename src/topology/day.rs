//! The day: its logs opened and recovered, its Genesis read or made, before any agent exists.
//!
//! Consumes the configuration, a day plan and the time; produces an [`OpenDay`]. Closes the day's
//! logs again, after the agents are gone. Must not know agents other than the archiver, which commits
//! what a dead process had written.

use super::calendar::{DayPlan, next_day};
use super::host::auto_bytes;
use super::recover::recover;
use super::{Carried, Next, StartError, consent, promise};
use crate::agent::Agent;
use crate::clock::Clock;
use crate::config::{Config, DayEnd, Durability, HotTier};
use crate::engine::EngineError;
use crate::exchange::command::kind;
use crate::exchange::event::Event;
use crate::exchange::genesis::Genesis;
use crate::guard::{Guard, Place, command_checksum};
use crate::replay::{Until, replay};
use crate::snapshot::Loaded;
use crate::store::{
    Archiver, CommitPolicy, Control, Cut, Day, DaySpec, DayView, FoundDay, LogIndex, Medium,
    Recovered, Storage, StoreError, retire_ended_days,
};
use crate::types::*;
use std::path::Path;
use std::sync::Arc;

/// A day with both logs recovered.
pub(super) struct OpenDay {
    pub day: Day,
    pub policy: CommitPolicy,
    /// Where the logs were recovered from; `None` = from Genesis.
    pub snapshot: Option<Loaded>,
    pub commands: Recovered,
    pub events: Recovered,
    /// Commands found.
    pub found: u64,
    /// Torn tail that was cut off the command log.
    pub cut: Option<Cut>,
    /// What runs before have left of a command that killed them.
    pub guard: Guard,
    /// Bytes of the day's Genesis: found, or made by [`OpenDay::genesis`].
    pub genesis: Option<Vec<u8>>,
    /// When the day began: time of its first record, or now.
    pub begun: Nanos,
    pub plan: DayPlan,
    pub storage: Arc<dyn Storage>,
}

/// Opens the day whose turn it is and recovers both logs. Hot tiers of days that are over are given
/// back.
pub(super) fn open_day(
    config: &Config,
    storage: Arc<dyn Storage>,
    hot: &Path,
    now: Nanos,
) -> Result<OpenDay, StartError> {
    let plan = match next_day(config, &*storage, now)? {
        Next::Open(plan) => plan,
        Next::Wait { until, plan } => {
            return Err(StartError::BetweenDays { until, date: plan.name() });
        }
    };
    match open_planned(config, storage.clone(), hot, now, plan.clone()) {
        Ok(opened) => {
            let (dir, plan) = (opened.day.dir(), &opened.plan);
            if let Some(letter) = consent::note_left_over(&*storage, dir, plan, config)? {
                tracing::warn!(
                    "venue.incarnation is \"{letter}\", and {} goes on as \"{}\": it lost nothing, the \
                     line can be removed",
                    dir.display(),
                    char::from(plan.incarnation)
                );
            }
            Ok(opened)
        }
        Err(StartError::MemoryLost { day, wanted }) if char::from(config.incarnation) >= wanted => {
            let anew = plan.anew(config, now);
            tracing::warn!("{} is given up; {} begins anew", day.display(), anew.name());
            open_planned(config, storage, hot, now, anew)
        }
        Err(error) => Err(error),
    }
}

fn open_planned(
    config: &Config,
    storage: Arc<dyn Storage>,
    hot: &Path,
    now: Nanos,
    plan: DayPlan,
) -> Result<OpenDay, StartError> {
    let date = plan.name();
    let spec = DaySpec {
        storage: storage.clone(),
        data: config.data.clone(),
        hot: hot.to_path_buf(),
        name: config.name.text(),
        date,
        archive: true,
        segment_bytes: config.segment_bytes,
        hot_segments_max: config.hot_segments_max,
    };
    for ended in retire_ended_days(&spec, now) {
        let (day, hot) = (ended.day.display(), ended.hot.display());
        match ended.outcome {
            Ok(true) => tracing::info!("{day} is over: its hot tier {hot} is given back"),
            Ok(false) => tracing::warn!("{day} is over, but its archive lacks what {hot} holds"),
            Err(error) => tracing::warn!("{day} is over, its hot tier {hot} stays: {error}"),
        }
    }
    let day = Day::open(&spec, now)?;
    if day.medium() == Medium::Degraded && !config.degraded_allowed {
        return Err(match &config.hot {
            HotTier::Auto => StartError::NoRoom { mib: auto_bytes(config) >> 20 },
            HotTier::Directory(_) => StartError::Degraded { path: day.hot_dir().to_path_buf() },
        });
    }
    let policy = match config.durability {
        Durability::Memory => CommitPolicy::Memory,
        Durability::Disk => CommitPolicy::Disk,
    };
    let (mut snapshot, [mut commands, mut events]) = recover(&day)?;
    let guard = guard(config, &day).map_err(StartError::Guard)?;
    if let (Some(crash), Some(loaded)) = (guard.crash(), &snapshot)
        && loaded.commands().seq >= crash.command
    {
        // The shadow got past what killed the engine: the log alone decides.
        snapshot = None;
        [commands, events] =
            [day.log(LogIndex::Command).recover()?, day.log(LogIndex::Event).recover()?];
    }
    if promise::was_memory(&*storage, day.dir()) && day.may_lack_records(&commands) {
        let wanted = consent::wanted(&*storage, day.dir(), &plan)?;
        return Err(StartError::MemoryLost { day: day.dir().to_path_buf(), wanted });
    }
    let found = commands.next_seq.0 - 1;
    let (mut genesis, mut begun) = (None, now);
    if found > 0 {
        let mut reader = day.log(LogIndex::Command).reader_unbounded()?;
        if let Some(first) = reader.next()?.filter(|r| r.kind == kind::GENESIS) {
            (genesis, begun) = (Some(first.payload.to_vec()), first.time);
        }
    }
    let cut = commands.cut.take();
    let events = match guard.crash() {
        Some(crash) => events_before(&day, events, crash.command)?,
        None => events,
    };
    Ok(OpenDay {
        day,
        policy,
        snapshot,
        commands,
        events,
        found,
        cut,
        guard,
        genesis,
        begun,
        plan,
        storage,
    })
}

/// What runs before have left, as the log and the operators' keys bear it out.
fn guard(config: &Config, day: &Day) -> std::io::Result<Guard> {
    let commands = day.log(LogIndex::Command);
    let options = commands.options();
    let place = Place {
        storage: Arc::clone(&options.storage),
        dir: day.dir().to_path_buf(),
        log_id: options.log_id,
    };
    Guard::look(place, &config.operators, |seq| {
        let mut reader = commands.reader_unbounded().map_err(std::io::Error::other)?;
        if !reader.seek_seq(seq).map_err(std::io::Error::other)? {
            return Ok(None);
        }
        let record = reader.next().map_err(std::io::Error::other)?;
        let record = record.filter(|record| record.seq == seq);
        Ok(record.map(|r| command_checksum(r.seq, r.kind, r.payload)))
    })
}

/// The end of a day is in the log so long after its hour at the latest, whatever stands still.
const END_LATE_NS: u64 = 60_000_000_000;

/// Takes back what a dead run wrote of the events of `command`: they were never committed.
fn events_before(day: &Day, events: Recovered, command: Seq) -> Result<Recovered, StartError> {
    let log = day.log(LogIndex::Event);
    let mut reader = log.reader_unbounded()?;
    let first = loop {
        let Some(record) = reader.next()? else { return Ok(events) };
        let event = Event::decode(record.kind, record.payload);
        if event.is_some_and(|event| event.head.command >= command) {
            break (record.position, record.seq);
        }
    };
    drop(reader);
    Ok(log.cut(events, first.0, first.1)?)
}

impl OpenDay {
    /// The Genesis that counts: the log's, else one of the configuration with what the last ended day
    /// left. True when the configuration would make another one now; opening cash and shares of
    /// accounts apart, as those only count for new ones.
    pub fn genesis(
        &mut self,
        config: &Config,
        now: Nanos,
        hash_seed: u64,
    ) -> Result<(Genesis, bool), StartError> {
        let DayPlan { days, incarnation, .. } = self.plan;
        let mut fresh = config.genesis_of(days, now, incarnation, hash_seed);
        match &self.genesis {
            None if self.found > 0 => Err(EngineError::NoGenesis.into()),
            None => {
                if let Some(ended) = &self.plan.from {
                    fresh = carry(&self.storage, ended, fresh)?;
                }
                fresh.check()?;
                self.genesis = Some(fresh.encode());
                Ok((fresh, false))
            }
            Some(bytes) => {
                let day = Genesis::decode(bytes)?;
                for account in &mut fresh.accounts {
                    if let Some(known) = day.accounts.iter().find(|a| a.name == account.name) {
                        account.cash = known.cash;
                        account.positions.clone_from(&known.positions);
                    }
                }
                let same = Genesis { hash_seed: day.hash_seed, midnight: day.midnight, ..fresh };
                let differs = same != day;
                Ok((day, differs))
            }
        }
    }

    /// When the day ends; `None` = not by itself.
    pub fn ends(&self, config: &Config) -> Option<Nanos> {
        match config.day.end {
            _ if self.plan.overdue => Some(self.begun),
            DayEnd::Never => None,
            DayEnd::At(seconds) => {
                Some(config.midnight(self.plan.days).plus(seconds as u64 * 1_000_000_000))
            }
            DayEnd::After(seconds) => Some(self.begun.plus(seconds * 1_000_000_000)),
        }
    }

    /// Refuses an end that the day, which is not over, has long passed: somebody has changed the hours since,
    /// and all that rests would be taken off the books for it.
    pub fn refuse_passed(&self, end: Option<Nanos>) -> Result<(), StartError> {
        let last = self.commands.last_time;
        match end.filter(|end| !self.plan.overdue && last > end.plus(END_LATE_NS)) {
            None => Ok(()),
            Some(end) => {
                let day = self.day.dir().to_path_buf();
                Err(StartError::EndPassed { day, minutes: last.since(end) / 60_000_000_000 })
            }
        }
    }
}

/// `fresh` with what `ended` left. Cost: replays the ended day.
fn carry(
    storage: &Arc<dyn Storage>,
    ended: &FoundDay,
    fresh: Genesis,
) -> Result<Genesis, StartError> {
    let day = ended.dir.clone();
    let carry = |cause| StartError::Carry { day: day.clone(), cause };
    let replayed = DayView::open_in(storage.clone(), &ended.dir)
        .map_err(Into::into)
        .and_then(|view| replay(&view, Until::End, false, |_, _| {}, |_| {}))
        .map_err(|cause| StartError::EndedDay { day: day.clone(), cause })?;
    let carried = Carried::of(&replayed.exchange).map_err(carry)?;
    match ended.ended {
        Some(noted) if noted != carried.state_hash => {
            let replayed = carried.state_hash;
            Err(StartError::EndedElsewhere { day, replayed, noted })
        }
        _ => carried.put_into(fresh).map_err(carry),
    }
}

/// What carrying from the last ended day into a day that begins `now` would say: for whoever wants to
/// know hours before.
pub fn rehearse(config: &Config, storage: &Arc<dyn Storage>, now: Nanos) -> Result<(), StartError> {
    let (Next::Open(plan) | Next::Wait { plan, .. }) = next_day(config, &**storage, now)?;
    match &plan.from {
        Some(ended) => {
            carry(storage, ended, config.genesis_of(plan.days, now, plan.incarnation, 0)).map(drop)
        }
        None => Ok(()),
    }
}

/// Ends work on a day after its agents are gone: archives what is left and says so; when the day is
/// over (`over`: the exchange's state hash), notes that and gives its hot tier back. False: the
/// archive lacks something, and an ended day will be opened once more.
pub fn close_day(day: Day, over: Option<u64>) -> Result<bool, StoreError> {
    if !day.seal()? {
        return Ok(false);
    }
    let Some(state_hash) = over else { return Ok(true) };
    day.note_ended(state_hash)?;
    if let Err(error) = day.retire_hot() {
        // The next start gives it back.
        tracing::warn!("the hot tier of an ended day stays: {error}");
    }
    Ok(true)
}

/// Before the engine replays: what a dead process had written but not committed (level `disk`) goes
/// to disk now. It was acknowledged to nobody, but it is in the log, so it counts.
/// A disk that does not take it refuses the start: waiting here would be deaf to SIGTERM.
pub(super) fn commit_what_is_written(
    policy: CommitPolicy,
    control: &Arc<Control>,
    archiver: &mut Archiver,
    clock: &impl Clock,
) -> Result<(), StartError> {
    loop {
        let mark = policy.advance(control, LogIndex::Command);
        if mark.seq == control.written(LogIndex::Command).seq {
            return Ok(());
        }
        if let Some(code) = control.archive_failed().or(control.archive_waits()) {
            return Err(StartError::Archive(std::io::Error::from_raw_os_error(code)));
        }
        archiver.duty_cycle(clock.now());
    }
}
