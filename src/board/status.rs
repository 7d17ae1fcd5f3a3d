//! EngineStatus: where the engine stands.

use crate::exchange::command::{Mode, Phase};
use crate::types::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What everybody may know of the engine, which is its only writer.
#[derive(Debug, Default)]
pub struct EngineStatus {
    applied: AtomicU64,
    time: AtomicU64,
    hashed: AtomicU64,
    state_hash: AtomicU64,
    open_orders: AtomicU64,
    continues: AtomicU64,
    modes: AtomicU64,
    continue_wanted: AtomicBool,
    phase: AtomicU8,
    mode: AtomicU8,
    /// Time of EndOfDay; 0 before it.
    day_ended: AtomicU64,
    live: AtomicBool,
    halted_before: AtomicU64,
}

impl EngineStatus {
    /// Nothing applied yet.
    pub fn new() -> Arc<EngineStatus> {
        Arc::default()
    }

    /// Last command applied.
    #[inline]
    pub fn applied(&self) -> Seq {
        Seq(self.applied.load(Ordering::Acquire))
    }

    /// Time of the last command applied.
    pub fn time(&self) -> Nanos {
        Nanos(self.time.load(Ordering::Relaxed))
    }

    /// A recent command and the state hash after it: at most a housekeeping interval (10 ms) old.
    /// The two belong together only while the engine is not writing them: a reader that needs
    /// certainty asks twice.
    pub fn state_hash(&self) -> (Seq, u64) {
        (Seq(self.hashed.load(Ordering::Acquire)), self.state_hash.load(Ordering::Acquire))
    }

    /// Resting orders of the venue, as of [`EngineStatus::state_hash`].
    pub fn open_orders(&self) -> u64 {
        self.open_orders.load(Ordering::Relaxed)
    }

    /// True when the exchange wants Continue commands for a bounded mass action.
    #[inline]
    pub fn continue_wanted(&self) -> bool {
        self.continue_wanted.load(Ordering::Acquire)
    }

    /// Continue commands applied since the engine went live.
    #[inline]
    pub fn continues(&self) -> u64 {
        self.continues.load(Ordering::Acquire)
    }

    /// Mode commands applied since the engine went live.
    #[inline]
    pub fn modes(&self) -> u64 {
        self.modes.load(Ordering::Acquire)
    }

    /// Phase that the last Phase command set; PreOpen before the first.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            1 => Phase::Open,
            2 => Phase::Closed,
            _ => Phase::PreOpen,
        }
    }

    /// Mode that the last Mode command set; Normal before the first.
    pub fn mode(&self) -> Mode {
        Mode::from_byte(self.mode.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// True once EndOfDay was applied: orders expire, nothing else happens any more.
    pub fn day_ended(&self) -> bool {
        self.day_ended.load(Ordering::Acquire) != 0
    }

    /// When EndOfDay was sequenced, by this run's clock (earlier than its start when an earlier run
    /// did it), once the last order has expired and everything was said.
    pub fn day_over(&self) -> Option<Nanos> {
        // Whoever sees the end sees also whether it has work left: it was set first.
        let at = self.day_ended.load(Ordering::Acquire);
        (at != 0 && !self.continue_wanted()).then_some(Nanos(at))
    }

    /// Command before which the engine stands, because it killed earlier runs; nothing is applied.
    #[inline]
    pub fn halted_before(&self) -> Option<Seq> {
        Some(Seq(self.halted_before.load(Ordering::Acquire))).filter(|seq| seq.0 != 0)
    }

    /// True once recovery is over.
    pub fn live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// One command was applied. Engine only.
    #[inline]
    pub fn set_applied(&self, seq: Seq, time: Nanos) {
        self.time.store(time.0, Ordering::Relaxed);
        self.applied.store(seq.0, Ordering::Release);
    }

    /// Whether a mass action has work left. Engine only.
    #[inline]
    pub fn set_continue_wanted(&self, wanted: bool) {
        if self.continue_wanted.load(Ordering::Relaxed) != wanted {
            self.continue_wanted.store(wanted, Ordering::Release);
        }
    }

    /// A Continue was applied. Engine only; after [`EngineStatus::set_continue_wanted`], so that
    /// whoever sees the count also sees whether another one is wanted.
    pub fn count_continue(&self) {
        let count = self.continues.load(Ordering::Relaxed);
        self.continues.store(count + 1, Ordering::Release);
    }

    /// The phase changed. Engine only.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// The mode changed. Engine only.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Release);
    }

    /// A Mode was applied. Engine only; after [`EngineStatus::set_mode`] and
    /// [`EngineStatus::set_continue_wanted`], so that whoever sees the count also sees both.
    pub fn count_mode(&self) {
        let count = self.modes.load(Ordering::Relaxed);
        self.modes.store(count + 1, Ordering::Release);
    }

    /// EndOfDay was applied; only the first one counts. Engine only, after
    /// [`EngineStatus::set_continue_wanted`].
    pub fn set_day_ended(&self, time: Nanos) {
        if self.day_ended.load(Ordering::Relaxed) == 0 {
            self.day_ended.store(time.0.max(1), Ordering::Release);
        }
    }

    /// The engine stands before this command. Engine only.
    pub fn set_halted_before(&self, seq: Seq) {
        self.halted_before.store(seq.0, Ordering::Release);
    }

    /// State hash after command `seq`. Engine only.
    pub fn set_state_hash(&self, seq: Seq, hash: u64, open_orders: u64) {
        self.state_hash.store(hash, Ordering::Release);
        self.hashed.store(seq.0, Ordering::Release);
        self.open_orders.store(open_orders, Ordering::Relaxed);
    }

    /// Recovery is over; Continues and Modes count from here. Engine only.
    pub fn set_live(&self) {
        self.continues.store(0, Ordering::Release);
        self.modes.store(0, Ordering::Release);
        self.live.store(true, Ordering::Release);
    }
}
