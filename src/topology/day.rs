//! The day: its logs opened and recovered, its Genesis read or made, before any agent exists.
//!
//! Consumes the configuration and the time; produces an [`OpenDay`]. Must not know agents other than
//! the archiver, which commits what a dead process had written.

use super::StartError;
use crate::agent::Agent;
use crate::clock::Clock;
use crate::config::{Config, Durability, date_text};
use crate::engine::EngineError;
use crate::exchange::command::kind;
use crate::exchange::genesis::Genesis;
use crate::store::{
    Archiver, CommitPolicy, Control, Cut, Day, DaySpec, LogIndex, Medium, Recovered, Storage,
    retire_ended_days,
};
use crate::types::*;
use std::path::Path;
use std::sync::Arc;

/// A day with both logs recovered.
pub(super) struct OpenDay {
    pub day: Day,
    pub policy: CommitPolicy,
    pub commands: Recovered,
    pub events: Recovered,
    /// Commands found.
    pub found: u64,
    /// Torn tail that was cut off the command log.
    pub cut: Option<Cut>,
    /// Bytes of the day's Genesis: found, or made by [`OpenDay::genesis`].
    pub genesis: Option<Vec<u8>>,
}

/// Opens the day that `now` falls into and recovers both logs. Hot tiers of days that are over are
/// given back.
pub(super) fn open_day(
    config: &Config,
    storage: Arc<dyn Storage>,
    hot: &Path,
    now: Nanos,
) -> Result<OpenDay, StartError> {
    let (days, _) = config.trading_day(now);
    let mut date = date_text(days);
    if config.incarnation != b'A' {
        date = format!("{date}-{}", config.incarnation as char);
    }
    let spec = DaySpec {
        storage,
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
        return Err(StartError::Degraded { path: day.hot_dir().to_path_buf() });
    }
    let policy = match config.durability {
        Durability::Memory => CommitPolicy::Memory,
        Durability::Disk => CommitPolicy::Disk,
    };
    let mut commands = day.log(LogIndex::Command).recover()?;
    let events = day.log(LogIndex::Event).recover()?;
    if policy == CommitPolicy::Memory && day.may_lack_records(&commands) {
        return Err(StartError::MemoryLost { day: day.dir().to_path_buf() });
    }
    let found = commands.next_seq.0 - 1;
    let genesis = match found {
        0 => None,
        _ => {
            let mut reader = day.log(LogIndex::Command).reader_unbounded()?;
            reader.next()?.filter(|r| r.kind == kind::GENESIS).map(|r| r.payload.to_vec())
        }
    };
    let cut = commands.cut.take();
    Ok(OpenDay { day, policy, commands, events, found, cut, genesis })
}

impl OpenDay {
    /// The Genesis that counts: the log's, else one of the configuration. True when the
    /// configuration would make another one now.
    pub fn genesis(
        &mut self,
        config: &Config,
        now: Nanos,
        hash_seed: u64,
    ) -> Result<(Genesis, bool), StartError> {
        let fresh = config.genesis(now, config.incarnation, hash_seed);
        match &self.genesis {
            None if self.found > 0 => Err(EngineError::NoGenesis.into()),
            None => {
                fresh.check()?;
                self.genesis = Some(fresh.encode());
                Ok((fresh, false))
            }
            Some(bytes) => {
                let day = Genesis::decode(bytes)?;
                let same = Genesis { hash_seed: day.hash_seed, midnight: day.midnight, ..fresh };
                let differs = same != day;
                Ok((day, differs))
            }
        }
    }
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
