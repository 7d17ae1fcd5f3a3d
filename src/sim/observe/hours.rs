//! The hours of a day: what the venue sequences by the clock and not for a client. Ticks, the market's
//! phases, modes, the end of the day, and what a start says of them.
//!
//! Consumes the commands of the log in order; produces those that come at a wrong time, or not at all.
//! Must not know sessions.

use super::Faults;
use super::scene::Scene;
use crate::exchange::command::{Command, Mode, Phase};
use crate::types::*;

const MS: u64 = 1_000_000;
/// Time between two Ticks.
const TICK_NS: u64 = 100 * MS;
/// So much later is not late.
const SLACK_NS: u64 = 10 * MS;
/// The market is open so long after its hour at the latest.
const OPENED_NS: u64 = 50 * MS;
/// The market is closed so long after its hour at the latest.
const CLOSED_NS: u64 = 250 * MS;
/// The day ends so long after its time at the latest.
const ENDED_NS: u64 = 100 * MS;

/// The last phase, mode and end of the day stand at these places.
const PHASE: usize = 0;
const MODE: usize = 1;
const END: usize = 2;

/// One day's hours.
pub struct Hours {
    /// Times in the log are the world's.
    clocks_agree: bool,
    /// When the market opens and closes; 0 = at once, never.
    open_at: Nanos,
    close_at: Nanos,
    /// How long the day lasts by configuration, ns.
    length_ns: Option<u64>,
    /// When it began by itself.
    begun: Nanos,
    up_since: Nanos,
    healing: bool,
    /// Commands that were there when the exchange came up, and when its start began.
    found: (u64, Nanos),
    last_tick: Option<Nanos>,
    opened: bool,
    closed: bool,
    /// The last command of each kind, and its number.
    said: [Option<(u64, Command<'static>)>; 3],
    /// When EndOfDay was sequenced.
    over: Option<Nanos>,
    /// Since the last mode there were always orders to cancel.
    cancels_wait: bool,
}

impl Hours {
    /// Nothing seen yet.
    pub fn new(scene: &Scene) -> Hours {
        Hours {
            clocks_agree: scene.clocks_agree,
            open_at: scene.open_at,
            close_at: scene.close_at,
            length_ns: scene.length_ns,
            begun: Nanos(0),
            up_since: Nanos(0),
            healing: false,
            found: (0, Nanos(0)),
            last_tick: None,
            opened: false,
            closed: false,
            said: [const { None }; 3],
            over: None,
            cancels_wait: false,
        }
    }

    /// No more faults; the operator lets days last from here on.
    pub fn heal(&mut self) {
        self.healing = true;
    }

    /// Whether it is so.
    pub fn is_healing(&self) -> bool {
        self.healing
    }

    /// The exchange comes up with so many commands, by a start that began then.
    pub fn starts(&mut self, commands: u64, begun: Nanos) {
        self.found = (commands, begun);
    }

    /// The exchange serves (again).
    pub fn up(&mut self, now: Nanos) {
        self.up_since = now;
        self.last_tick = None;
    }

    /// Since when it serves.
    pub fn up_since(&self) -> Nanos {
        self.up_since
    }

    /// When EndOfDay was sequenced, `None` = it was not.
    pub fn over(&self) -> Option<Nanos> {
        self.over
    }

    /// Command `seq`, sequenced at `time`.
    pub fn on_command(
        &mut self,
        seq: u64,
        time: Nanos,
        command: &Command<'_>,
        faults: &mut Faults,
    ) {
        if seq == 1 {
            self.begun = time;
        }
        self.judge_overdue(seq, command, faults);
        match command {
            Command::Tick => self.judge_tick(seq, time, faults),
            Command::Phase(Phase::Open) if !self.opened => {
                self.opened = true;
                let late = self.open_at.max(self.up_since).plus(OPENED_NS);
                let what = || format!("command {seq} at {}, due at {}", time.0, self.open_at.0);
                if self.clocks_agree && time < self.open_at {
                    faults.add("the market opened too early", what());
                }
                if self.clocks_agree && time > late && !faults.excused(self.up_since, time) {
                    faults.add("the market opened too late", what());
                }
            }
            Command::Phase(Phase::Closed) => {
                self.closed = true;
                if self.clocks_agree && time < self.close_at {
                    let what = format!("command {seq} at {}, due at {}", time.0, self.close_at.0);
                    faults.add("the market closed too early", what);
                }
            }
            Command::Mode(mode) => {
                let before = match &self.said[MODE] {
                    Some((_, Command::Mode(mode))) => *mode,
                    _ => Mode::Normal,
                };
                if before == Mode::Halt && *mode == Mode::Normal {
                    faults.add("a halt ended in trading", format!("command {seq}"));
                }
                if before == *mode {
                    faults.add("a mode is said again", format!("command {seq}: {mode:?}"));
                }
            }
            Command::EndOfDay => {
                self.over.get_or_insert(time);
                self.judge_end(seq, time, faults);
            }
            _ => {}
        }
        self.judge_again(seq, command, faults);
    }

    /// What a halt held up is cancelled before anything trades again. `wanted`: after this command a
    /// mass cancel goes on.
    pub fn judge_wanted(
        &mut self,
        seq: u64,
        command: &Command<'_>,
        wanted: bool,
        faults: &mut Faults,
    ) {
        if self.cancels_wait && matches!(command, Command::Mode(Mode::Normal)) {
            faults.add("trading goes on before the cancels", format!("command {seq}"));
        }
        self.cancels_wait = wanted && (self.cancels_wait || matches!(command, Command::Mode(_)));
    }

    fn judge_tick(&mut self, seq: u64, time: Nanos, faults: &mut Faults) {
        if let Some(last) = self.last_tick.replace(time) {
            let gap = time.since(last);
            let out = gap + SLACK_NS < TICK_NS || gap > TICK_NS + SLACK_NS;
            if out && self.clocks_agree && !faults.excused(last, time) {
                faults.add("a tick is out of time", format!("command {seq}: {} us", gap / 1_000));
            }
        }
    }

    /// The end of a day that is overdue at a start comes before anything of clients.
    fn judge_overdue(&self, seq: u64, command: &Command<'_>, faults: &mut Faults) {
        let (found, begun) = self.found;
        if let Some(length_ns) = self.length_ns.filter(|_| self.clocks_agree && !self.healing)
            && seq == found + 1
            && found > 0
            && self.over.is_none()
            && begun > self.begun.plus(length_ns)
            && !matches!(command, Command::EndOfDay)
        {
            let what = format!("command {seq}: {command:?}, the start began at {}", begun.0);
            faults.add("an overdue day goes on", what);
        }
    }

    /// A start says nothing that holds already.
    fn judge_again(&mut self, seq: u64, command: &Command<'_>, faults: &mut Faults) {
        let (place, command) = match command {
            Command::Phase(phase) => (PHASE, Command::Phase(*phase)),
            Command::Mode(mode) => (MODE, Command::Mode(*mode)),
            Command::EndOfDay => (END, Command::EndOfDay),
            _ => return,
        };
        let found = self.found.0;
        if let Some((at, before)) = &self.said[place]
            && *before == command
            && *at <= found
            && seq > found
        {
            let what = format!("command {seq}: {command:?}, as command {at} said");
            faults.add("a start says again what holds", what);
        }
        self.said[place] = Some((seq, command));
    }

    /// A day that lasts so long ends then.
    fn judge_end(&self, seq: u64, time: Nanos, faults: &mut Faults) {
        let Some(length_ns) = self.length_ns.filter(|_| self.clocks_agree) else { return };
        let due = self.begun.plus(length_ns);
        let late = due.max(self.up_since).plus(ENDED_NS);
        let too_late = time > late && !self.healing && !faults.excused(due, time);
        if time < due || too_late {
            let what = format!("command {seq} at {}, due at {}", time.0, due.0);
            faults.add("the day did not end in time", what);
        }
    }

    /// The market is closed when it should be.
    pub fn judge_close(&self, now: Nanos, faults: &mut Faults) {
        let due = self.close_at.max(self.up_since);
        let late = self.close_at.0 > 0 && now > due.plus(CLOSED_NS);
        if late && !self.closed && !faults.excused(due, now) {
            faults.add("the market did not close", format!("due at {}", self.close_at.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000 * MS;

    fn hours(length_s: Option<u64>) -> Hours {
        let scene = Scene {
            disk: false,
            keys: Vec::new(),
            rate: (1, 1),
            clocks_agree: true,
            open_at: Nanos(2 * S),
            close_at: Nanos(9 * S),
            length_ns: length_s.map(|s| s * S),
            repair_rate: 1,
            reports_kept: 1,
        };
        Hours::new(&scene)
    }

    fn broken(hours: &mut Hours, commands: &[(u64, u64, Command<'static>)]) -> Vec<&'static str> {
        let mut faults = Faults::default();
        for (seq, ms, command) in commands {
            hours.on_command(*seq, Nanos(ms * MS), command, &mut faults);
        }
        faults.found.iter().map(|fault| fault.rule).collect()
    }

    #[test]
    fn each_hour_is_kept() {
        let phase = |at, ms, phase| (at, ms, Command::Phase(phase));
        let good = [phase(1, 2_001, Phase::Open), phase(2, 9_001, Phase::Closed)];
        assert_eq!(broken(&mut hours(None), &good), [""; 0]);
        let soon = [phase(1, 1_999, Phase::Open), phase(2, 8_999, Phase::Closed)];
        let rules = ["the market opened too early", "the market closed too early"];
        assert_eq!(broken(&mut hours(None), &soon), rules);
        let late = [phase(1, 2_051, Phase::Open)];
        assert_eq!(broken(&mut hours(None), &late), ["the market opened too late"]);
        let ticks = [100, 200, 311].map(|ms| (1, ms, Command::Tick));
        assert_eq!(broken(&mut hours(None), &ticks), ["a tick is out of time"]);
        let modes = [Mode::Halt, Mode::CancelOnly, Mode::Normal].map(|m| (1, 1, Command::Mode(m)));
        assert_eq!(broken(&mut hours(None), &modes), [""; 0]);
        assert_eq!(broken(&mut hours(None), &[modes[0], modes[2]]).len(), 1);
        assert_eq!(broken(&mut hours(None), &[modes[0], modes[0]]).len(), 1);
        let (mut waiting, mut faults) = (hours(None), Faults::default());
        let [cancels, trades] = [Mode::CancelOnly, Mode::Normal].map(Command::Mode);
        let wanted = [(cancels, true), (Command::Continue, false), (trades, true)];
        for (command, wanted) in wanted.iter().chain(&wanted[2..]) {
            waiting.judge_wanted(1, command, *wanted, &mut faults);
        }
        assert_eq!(faults.found.len(), 1, "the first was seen to its end");
        let ends = |ms| [(1, 0, Command::Continue), (2, ms, Command::EndOfDay)];
        assert_eq!(broken(&mut hours(Some(3)), &ends(3_050)), [""; 0]);
        for ms in [2_999, 3_101] {
            assert_eq!(broken(&mut hours(Some(3)), &ends(ms)), ["the day did not end in time"]);
        }
        let (mut faults, mut open) = (Faults::default(), hours(None));
        open.judge_close(Nanos(9 * S + CLOSED_NS), &mut faults);
        assert!(faults.found.is_empty());
        open.judge_close(Nanos(9 * S + CLOSED_NS + 1), &mut faults);
        assert_eq!(faults.found.len(), 1);
        open.on_command(1, Nanos(9 * S), &Command::Phase(Phase::Closed), &mut faults);
        open.judge_close(Nanos(10 * S), &mut faults);
        assert_eq!(faults.found.len(), 1, "closed");
    }

    #[test]
    fn a_start_says_what_is_due_and_nothing_twice() {
        let mut day = hours(Some(3));
        let open = Command::Phase(Phase::Open);
        let before = [(1, 0, Command::Continue), (2, 2_000, open)];
        assert_eq!(broken(&mut day, &before), [""; 0]);
        day.starts(2, Nanos(4 * S));
        day.up(Nanos(4 * S));
        let after = [(3, 4_000, open), (4, 4_001, Command::EndOfDay)];
        let rules = ["an overdue day goes on", "a start says again what holds"];
        assert_eq!(broken(&mut day, &after), rules);
    }
}
