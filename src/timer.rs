//! Timer: the one source of time commands.
//!
//! Consumes the clock (as `now`), the session board, the engine's status and the logs' marks; produces
//! Tick every 100 ms, the Phase changes of the day's schedule, SessionDown for sessions that were
//! silent for their dead time, Continue while the exchange wants it, and Mode as the archiver falls
//! behind or catches up (`ladder`). Must not know orders.

pub mod ladder;

use crate::agent::Agent;
use crate::board::{EngineStatus, SessionBoard};
use crate::counters::counters;
use crate::exchange::command::{Command, Mode, Phase, SessionDown};
use crate::planted::{self, Bug};
use crate::ring::Producer;
use crate::store::{Control, LogIndex};
use crate::types::*;
use std::sync::Arc;

counters! {
    /// What the timer did.
    pub struct TimerCounters("timer") {
        ticks: "Tick commands pushed",
        phases: "Phase commands pushed",
        ends: "EndOfDay commands pushed",
        sessions_down: "SessionDown commands pushed",
        continues: "Continue commands pushed",
        modes: "Mode commands pushed",
        ring_full: "commands that found the ring full; tried again next cycle",
        stalls: "times nobody could be heard for 200 ms or more: dead times start anew",
    }
}

/// Time between Ticks: 100 ms.
pub const TICK_NS: u64 = 100_000_000;
/// Time between two looks at the sessions: a fiftieth of the shortest dead time.
const SCAN_NS: u64 = 20_000_000;
/// A command whose effect does not show after this long is pushed again; of Mode and Continue the next one
/// waits for the last, however long.
const RETRY_NS: u64 = 200_000_000;
/// The timer did not run or nobody read the network for so long: suspended process, stopped machine,
/// full command ring. A fifth of the shortest dead time, which is the longest pause of a client: that
/// and its own pause together are no dead time yet.
const STALL_NS: u64 = 200_000_000;

/// When the market opens and closes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// Opens as soon as the exchange is up.
    OpenAtOnce,
    /// Phases by time, rising; before the first it is PreOpen.
    Times(Vec<(Nanos, Phase)>),
}

/// The timer. See the module's head.
pub struct Timer {
    commands: Producer,
    board: Arc<SessionBoard>,
    status: Arc<EngineStatus>,
    schedule: Schedule,
    /// End of the day; `None` = it has none.
    end: Option<Nanos>,
    end_pushed: Option<Nanos>,
    next_tick: Nanos,
    next_scan: Nanos,
    last_cycle: Nanos,
    /// Since when the exchange has been reachable: silence before it does not count.
    reachable_since: Nanos,
    phase_pushed: Option<(Phase, Nanos)>,
    /// Marks of the logs: how far the archiver is behind. `None` = nobody looks.
    marks: Option<Arc<Control>>,
    modes_pushed: u64,
    continues_pushed: u64,
    /// Generation whose SessionDown was pushed, and when, by slot.
    downs: Vec<(u32, Nanos)>,
    counters: Arc<TimerCounters>,
}

impl Timer {
    /// A timer that pushes into `commands`. Dead times count from its first duty cycle at the
    /// earliest.
    pub fn new(
        commands: Producer,
        board: Arc<SessionBoard>,
        status: Arc<EngineStatus>,
        schedule: Schedule,
    ) -> Timer {
        Timer {
            commands,
            status,
            schedule,
            end: None,
            end_pushed: None,
            next_tick: Nanos(0),
            next_scan: Nanos(0),
            last_cycle: Nanos(0),
            reachable_since: Nanos(0),
            phase_pushed: None,
            marks: None,
            modes_pushed: 0,
            continues_pushed: 0,
            downs: vec![(0, Nanos(0)); board.sessions()],
            board,
            counters: Arc::default(),
        }
    }

    /// From now on the venue's mode follows how far the archiver is behind (`ladder`).
    pub fn with_ladder(mut self, marks: Arc<Control>) -> Timer {
        self.marks = Some(marks);
        self
    }

    /// The day ends at `end`.
    pub fn ends(mut self, end: Option<Nanos>) -> Timer {
        self.end = end;
        self
    }

    /// Its counters.
    pub fn counters(&self) -> Arc<TimerCounters> {
        self.counters.clone()
    }

    fn push(&mut self, command: &Command) -> bool {
        let (kind, len) = command.size();
        let pushed = self.commands.try_push(kind, len, |out| command.write(out)).is_ok();
        if !pushed {
            self.counters.ring_full.add(1);
        }
        pushed
    }

    fn phase_due(&self, now: Nanos) -> Phase {
        match &self.schedule {
            Schedule::OpenAtOnce => Phase::Open,
            Schedule::Times(times) => times
                .iter()
                .take_while(|(at, _)| *at <= now)
                .last()
                .map_or(Phase::PreOpen, |&(_, phase)| phase),
        }
    }

    fn change_phase(&mut self, now: Nanos) -> usize {
        if self.status.day_ended() {
            return 0;
        }
        if self.end.is_some_and(|end| now >= end) {
            return self.end_day(now);
        }
        let due = self.phase_due(now);
        if due == self.status.phase() {
            return 0;
        }
        let waiting =
            self.phase_pushed.is_some_and(|(phase, at)| phase == due && now.since(at) < RETRY_NS);
        if waiting || !self.push(&Command::Phase(due)) {
            return 0;
        }
        self.phase_pushed = Some((due, now));
        self.counters.phases.add(1);
        1
    }

    fn change_mode(&mut self) -> usize {
        let Some(marks) = &self.marks else { return 0 };
        // What is on its way is the mode that the next one follows: a halt that is not applied yet must
        // not be passed by the end of what came before it. The ring loses none.
        if self.status.modes() < self.modes_pushed {
            return 0;
        }
        let [commands, events] = LogIndex::ALL.map(|log| marks.backlog(log).percent());
        let mode = self.status.mode();
        let due = ladder::rung(mode, commands.max(events));
        // What waited for the end of a halt comes before any trade.
        let cancels_first = due == Mode::Normal && self.status.continue_wanted();
        if due == mode || cancels_first || self.status.day_ended() {
            return 0;
        }
        if !self.push(&Command::Mode(due)) {
            return 0;
        }
        self.modes_pushed += 1;
        self.counters.modes.add(1);
        1
    }

    /// EndOfDay instead of any phase; again when its effect does not show.
    fn end_day(&mut self, now: Nanos) -> usize {
        let waiting = self.end_pushed.is_some_and(|at| now.since(at) < RETRY_NS);
        if waiting || !self.push(&Command::EndOfDay) {
            return 0;
        }
        self.end_pushed = Some(now);
        self.counters.ends.add(1);
        1
    }

    fn end_silent_sessions(&mut self, now: Nanos) -> usize {
        let mut pushed = 0;
        for index in 0..self.downs.len() {
            let slot = SessionSlot(index as u16);
            let (_, binding) = self.board.binding(slot);
            if !binding.bound {
                continue;
            }
            let heard = self.board.last_heard(slot).max(self.reachable_since);
            let early = planted::is(Bug::SessionDownEarly);
            let dead_ns = binding.dead_time_ms as u64 * if early { 500_000 } else { 1_000_000 };
            if now.since(heard) <= dead_ns {
                continue;
            }
            let (generation, at) = self.downs[index];
            if generation == binding.generation && now.since(at) < RETRY_NS {
                continue;
            }
            let generation = binding.generation;
            let down = SessionDown { session: slot, zero: [0; 2], generation };
            if !self.push(&Command::SessionDown(down)) {
                break;
            }
            self.downs[index] = (generation, now);
            self.counters.sessions_down.add(1);
            pushed += 1;
        }
        pushed
    }
}

impl Agent for Timer {
    fn name(&self) -> &'static str {
        "timer"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        if self.status.halted_before().is_some() {
            return 0;
        }
        let deaf = now.since(self.last_cycle).max(now.since(self.board.last_listened()));
        if deaf >= STALL_NS {
            // First cycle, or this process did not run: clients could not be heard meanwhile.
            self.counters.stalls.add((self.reachable_since != self.last_cycle) as u64);
            self.reachable_since = now;
        }
        self.last_cycle = now;
        let mut done = 0;
        // The count first: whoever sees a Continue counted also sees whether another is wanted.
        if self.status.continues() == self.continues_pushed
            && self.status.continue_wanted()
            && self.push(&Command::Continue)
        {
            self.continues_pushed += 1;
            self.counters.continues.add(1);
            done += 1;
        }
        if now >= self.next_tick && self.push(&Command::Tick) {
            self.next_tick = now.plus(TICK_NS);
            self.counters.ticks.add(1);
            done += 1;
        }
        if now >= self.next_scan {
            self.next_scan = now.plus(SCAN_NS);
            done += self.end_silent_sessions(now) + self.change_phase(now) + self.change_mode();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::Binding;
    use crate::exchange::command::kind;
    use crate::ring::{Consumer, ring};
    use crate::store::{Day, DaySpec, MemoryStorage};
    use std::path::Path;

    const START: Nanos = Nanos(1_000_000_000_000);
    const MS: u64 = 1_000_000;

    struct Bench {
        timer: Timer,
        ring: Consumer,
        board: Arc<SessionBoard>,
        status: Arc<EngineStatus>,
    }

    fn bench(schedule: Schedule, slots: usize) -> Bench {
        let (producer, ring) = ring(slots);
        let (board, status) = (SessionBoard::new(2), EngineStatus::new());
        let timer = Timer::new(producer, board.clone(), status.clone(), schedule);
        Bench { timer, ring, board, status }
    }

    impl Bench {
        /// Kinds of the commands pushed up to `ms` after the start, one cycle per millisecond.
        fn run(&mut self, from_ms: u64, to_ms: u64) -> Vec<(u64, u16)> {
            let mut seen = Vec::new();
            for ms in from_ms..to_ms {
                self.board.listen(START.plus(ms * MS));
                self.timer.duty_cycle(START.plus(ms * MS));
                while let Some(kind) = self.ring.pop(|kind, _| kind) {
                    seen.push((ms, kind));
                }
            }
            seen
        }
    }

    fn only(wanted: u16, seen: &[(u64, u16)]) -> Vec<u64> {
        seen.iter().filter(|(_, kind)| *kind == wanted).map(|(ms, _)| *ms).collect()
    }

    #[test]
    fn ticks_and_phases_by_the_schedule() {
        let times = vec![(START.plus(50 * MS), Phase::Open), (START.plus(350 * MS), Phase::Closed)];
        let mut b = bench(Schedule::Times(times), 64);
        let seen = b.run(0, 320);
        assert_eq!(only(kind::TICK, &seen), [0, 100, 200, 300]);
        // Not applied yet: said again after 200 ms, not before.
        assert_eq!(only(kind::PHASE, &seen), [60, 260]);
        b.status.set_phase(Phase::Open);
        assert_eq!(only(kind::PHASE, &b.run(320, 400)), [360]);
        b.status.set_phase(Phase::Closed);
        assert_eq!(only(kind::PHASE, &b.run(400, 900)), [0u64; 0]);
    }

    #[test]
    fn the_day_ends_at_its_time_and_once() {
        let mut b = bench(Schedule::Times(vec![(START.plus(150 * MS), Phase::Closed)]), 64);
        b.timer = b.timer.ends(Some(START.plus(150 * MS)));
        let seen = b.run(0, 400);
        // Not applied yet: said again after 200 ms; no phase beside it.
        assert_eq!(only(kind::END_OF_DAY, &seen), [160, 360]);
        assert_eq!(only(kind::PHASE, &seen), [0u64; 0]);
        assert_eq!(b.status.day_over(), None);
        b.status.set_continue_wanted(true);
        b.status.set_day_ended(START.plus(160 * MS));
        assert_eq!(b.status.day_over(), None, "orders are still to expire");
        assert_eq!(only(kind::END_OF_DAY, &b.run(400, 900)), [0u64; 0]);
        b.status.set_continue_wanted(false);
        b.status.set_day_ended(START.plus(360 * MS));
        assert_eq!(b.status.day_over(), Some(START.plus(160 * MS)));
    }

    #[test]
    fn one_continue_at_a_time() {
        let mut b = bench(Schedule::OpenAtOnce, 64);
        b.status.set_phase(Phase::Open);
        b.status.set_continue_wanted(true);
        assert_eq!(only(kind::CONTINUE, &b.run(0, 50)), [0]);
        b.status.count_continue();
        assert_eq!(only(kind::CONTINUE, &b.run(50, 100)), [50]);
        b.status.set_continue_wanted(false);
        b.status.count_continue();
        assert_eq!(only(kind::CONTINUE, &b.run(100, 150)), [0u64; 0]);
    }

    #[test]
    fn a_mode_on_its_way_is_followed_by_none_before_it_is_applied() {
        let storage = Arc::new(MemoryStorage::new(7, Path::new("/memory")));
        let day = DaySpec::small(Path::new("/disk"));
        let spec = DaySpec { storage, hot: "/memory/hot".into(), ..day };
        let day = Day::open(&spec, START).unwrap();
        let marks = day.control().clone();
        let mut b = bench(Schedule::OpenAtOnce, 64);
        b.timer = b.timer.with_ladder(marks.clone());
        b.status.set_phase(Phase::Open);
        b.status.set_mode(Mode::CancelOnly);
        marks.pretend_backlog(90);
        assert_eq!(only(kind::MODE, &b.run(0, 50)), [0]);
        // All is archived before the halt is applied: CancelOnly would end in trading now, a halt not.
        marks.pretend_backlog(0);
        assert_eq!(only(kind::MODE, &b.run(50, 900)), [0u64; 0]);
        for (mode, next) in
            [(Mode::Halt, Some(900)), (Mode::CancelOnly, Some(960)), (Mode::Normal, None)]
        {
            b.status.set_mode(mode);
            b.status.count_mode();
            let from = next.unwrap_or(1_020);
            let seen = only(kind::MODE, &b.run(from, from + 60));
            assert_eq!(seen.first().copied(), next, "after {mode:?}");
            assert!(seen.len() < 2);
        }
    }

    #[test]
    fn silence_counts_from_when_the_exchange_is_back() {
        let mut b = bench(Schedule::OpenAtOnce, 64);
        b.status.set_phase(Phase::Open);
        let bound = Binding { bound: true, generation: 3, dead_time_ms: 1_000, ..Binding::NONE };
        b.board.bind(SessionSlot(1), &bound);
        // Never heard by this process: one whole dead time from the first cycle.
        let down = only(kind::SESSION_DOWN, &b.run(0, 1_100));
        assert_eq!(down, [1_020]);
        b.board.hear(SessionSlot(1), START.plus(1_100 * MS));
        assert_eq!(only(kind::SESSION_DOWN, &b.run(1_100, 2_050)), [0u64; 0]);
        // The process stands still for two seconds: that silence was its own.
        assert_eq!(only(kind::SESSION_DOWN, &b.run(4_000, 4_990)), [0u64; 0]);
        assert_eq!(only(kind::SESSION_DOWN, &b.run(4_990, 5_100)).len(), 1);
        b.board.bind(SessionSlot(1), &Binding { bound: false, ..bound });
        assert_eq!(only(kind::SESSION_DOWN, &b.run(5_100, 6_000)), [0u64; 0]);
    }

    #[test]
    fn silence_does_not_count_while_nobody_listens() {
        let mut b = bench(Schedule::OpenAtOnce, 64);
        b.status.set_phase(Phase::Open);
        let bound = Binding { bound: true, generation: 3, dead_time_ms: 1_000, ..Binding::NONE };
        b.board.bind(SessionSlot(1), &bound);
        b.run(0, 500);
        b.board.hear(SessionSlot(1), START.plus(500 * MS));
        // The timer runs, but the network is not read (the command ring is full, say).
        for ms in 500..2_000 {
            b.timer.duty_cycle(START.plus(ms * MS));
        }
        while b.ring.pop(|kind, _| assert_ne!(kind, kind::SESSION_DOWN)).is_some() {}
        assert_eq!(b.timer.counters().stalls.get(), 1);
        // One whole dead time from when it is read again.
        assert_eq!(only(kind::SESSION_DOWN, &b.run(2_000, 2_990)), [0u64; 0]);
        assert_eq!(only(kind::SESSION_DOWN, &b.run(2_990, 3_100)).len(), 1);
        // Away for less than a second, with what a client sent meanwhile still to be read.
        b.board.hear(SessionSlot(1), START.plus(3_100 * MS));
        assert_eq!(only(kind::SESSION_DOWN, &b.run(4_090, 5_000)), [0u64; 0]);
        assert_eq!(b.timer.counters().stalls.get(), 2);
    }

    #[test]
    fn a_full_ring_is_tried_again() {
        let mut b = bench(Schedule::OpenAtOnce, 1);
        b.timer.duty_cycle(START);
        assert_eq!(b.ring.len(), 1);
        b.timer.duty_cycle(START.plus(30 * MS));
        assert!(b.timer.counters().ring_full.get() > 0);
        assert_eq!(b.ring.pop(|kind, _| kind), Some(kind::TICK));
        b.timer.duty_cycle(START.plus(60 * MS));
        assert_eq!(b.ring.pop(|kind, _| kind), Some(kind::PHASE));
    }
}
