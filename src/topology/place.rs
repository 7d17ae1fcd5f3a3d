//! Threads on this host: which class the kernel schedules each in, and what the operator must know.
//!
//! Consumes `[[thread]]` tables, `[host] realtime` and the isolated CPUs; produces a scheduling class
//! for each thread, and sentences. A thread that never sleeps and is scheduled before everybody else
//! starves whatever else has to run on its CPU, the kernel's own threads included; on a CPU that is not
//! isolated it gets that class only where the configuration insists.

use crate::agent::{IdleStrategy, PARK_NS_MAX, Scheduling, schedule, scheduled};
use crate::config::{AgentName, Config, Durability, Idle, Realtime, ThreadConfig};
use crate::host::cpus;
use std::io;

/// What comes of the `[[thread]]` tables on this host.
pub(super) struct Placement {
    /// One for each table.
    pub(super) scheduling: Vec<Scheduling>,
    /// What falls short, a sentence each.
    pub(super) notes: Vec<String>,
}

/// Name of the thread of these agents.
pub(super) fn thread_name(thread: &ThreadConfig) -> String {
    format!("rialto-{}", thread.agents.first().map_or("idle", |agent| agent.text()))
}

/// How a thread waits for work.
pub(super) struct Waiting {
    pub(super) idle: IdleStrategy,
    /// Longest park, ns.
    pub(super) park_ns: u64,
}

/// Sleeps at once, as whoever waits for it has time: each wake-up, and each microsecond of spinning,
/// is taken from somebody's CPU.
pub(super) const PATIENT: IdleStrategy = IdleStrategy::Park { spin_ns: 0 };

/// The preparer makes a segment while the one before it is filled: 19 ms at the peak with the
/// smallest there is (1 MiB). The errand is woken by its descriptors.
pub(super) const COLD_PARK_NS: u64 = 5_000_000;
/// Group commits: orders wait for the archiver, and the order path for its mark.
const DISK_PARK_NS: u64 = 200_000;

impl Waiting {
    /// Of a `[[thread]]`. The retransmitter is woken by its descriptor; who asks for reports of long ago
    /// waits for the replayer's next look.
    pub(super) fn of(thread: &ThreadConfig, durability: Durability) -> Waiting {
        use AgentName::{Archiver, Replayer, Retransmitter};
        let all_of = |some: &[AgentName]| thread.agents.iter().all(|agent| some.contains(agent));
        let disk = durability == Durability::Disk;
        let archives = all_of(&[Archiver]);
        let patient = archives || all_of(&[Replayer, Retransmitter]);
        let park_ns = match (patient, disk) {
            (true, false) => COLD_PARK_NS,
            (true, true) if !archives => COLD_PARK_NS,
            (_, true) => DISK_PARK_NS,
            (false, false) => PARK_NS_MAX,
        };
        let idle = match thread.idle {
            Idle::Spin => IdleStrategy::Spin,
            Idle::Yield => IdleStrategy::Yield,
            Idle::Park if patient => PATIENT,
            Idle::Park => IdleStrategy::PARK,
        };
        Waiting { idle, park_ns }
    }
}

impl Placement {
    /// Of `config` where the process may use the CPUs `present`, of which `isolated` are.
    pub(super) fn of(config: &Config, present: &[usize], isolated: &[usize]) -> Placement {
        let mut notes = Vec::new();
        let mut place = |thread: &ThreadConfig| {
            let name = thread_name(thread);
            let alone = thread.cpu.is_some_and(|cpu| isolated.contains(&cpu));
            let missing = thread.cpu.filter(|cpu| !present.contains(cpu));
            // Without a CPU of its own none spins: the runner parks it.
            let put_to_sleep = missing.is_some() && thread.idle == Idle::Spin;
            let sleeps = thread.idle == Idle::Park || put_to_sleep;
            if let Some(cpu) = missing {
                notes.push(format!(
                    "{name} is not pinned{}: this process has no CPU {cpu}, but {}",
                    if put_to_sleep { ", and sleeps between its work" } else { "" },
                    cpus::list(present)
                ));
            } else if let (Some(cpu), Idle::Spin, false) = (thread.cpu, thread.idle, alone) {
                notes.push(format!(
                    "{name} spins on CPU {cpu}, which is not isolated: whatever else runs there takes \
                     it away for milliseconds. isolcpus={cpu} on the kernel's command line mends it; \
                     `rialto doctor` measures it"
                ));
            }
            let Some(priority) = thread.priority else { return Scheduling::Ordinary };
            match config.host.realtime {
                Realtime::Off => Scheduling::Ordinary,
                Realtime::Isolated if !alone && !sleeps => {
                    notes.push(format!(
                        "{name} runs without priority {priority}: it never sleeps, and on a CPU that is \
                         not isolated it would starve the others; [host] realtime = \"anywhere\" insists"
                    ));
                    Scheduling::Ordinary
                }
                Realtime::Isolated | Realtime::Anywhere => Scheduling::Fifo(priority),
            }
        };
        let scheduling = config.threads.iter().map(&mut place).collect();
        Placement { scheduling, notes }
    }

    /// Highest priority of any thread.
    fn highest(&self) -> Option<Scheduling> {
        let priority = |wish: &Scheduling| match wish {
            Scheduling::Fifo(priority) => Some(*priority),
            _ => None,
        };
        self.scheduling.iter().filter_map(priority).max().map(Scheduling::Fifo)
    }

    /// Schedules the calling thread as the most urgent of those that it will make, while it may:
    /// downwards each of them goes by itself, after this process has given its capabilities away.
    /// Where the kernel refuses, all threads stay as they are, and that is a note.
    pub(super) fn raise(&mut self) -> Raised {
        let before = scheduled();
        let Some(highest) = self.highest() else {
            // Nobody asks for anything: as whoever started the process wished.
            self.scheduling.fill(Scheduling::Inherited);
            return Raised { before, own: Scheduling::Inherited };
        };
        match schedule(highest) {
            Ok(()) => {
                // Tables without a priority stay as this process was.
                for wish in &mut self.scheduling {
                    if *wish == Scheduling::Ordinary {
                        *wish = before;
                    }
                }
                Raised { before, own: before }
            }
            Err(error) => {
                self.notes.push(refusal(highest, &error));
                self.scheduling.fill(Scheduling::Inherited);
                Raised { before, own: Scheduling::Inherited }
            }
        }
    }
}

fn refusal(wish: Scheduling, error: &io::Error) -> String {
    format!(
        "no thread is scheduled as {wish}: {error}. It takes CAP_SYS_NICE or LimitRTPRIO \
         (sysconfig/systemd/rialto.service has both)"
    )
}

/// The calling thread is scheduled above its station until this is dropped.
pub(super) struct Raised {
    before: Scheduling,
    /// For threads that stand in no table.
    pub(super) own: Scheduling,
}

impl Drop for Raised {
    fn drop(&mut self) {
        // Downwards nothing is refused.
        let _ = schedule(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn placed(threads: &str, realtime: &str, isolated: &[usize]) -> Placement {
        let text = include_str!("../../rialto.toml");
        let text = format!("{text}\n[host]\nrealtime = \"{realtime}\"\n{threads}");
        let config = Config::parse(Path::new("x.toml"), &text).unwrap();
        Placement::of(&config, &[0, 1], isolated)
    }

    const TABLES: &str = r#"
        [[thread]]
        agents = ["ingress", "sequencer", "engine", "publisher", "egress", "timer"]
        cpu = 1
        idle = "spin"
        priority = 50
        [[thread]]
        agents = ["replayer", "retransmitter"]
        priority = 20
        [[thread]]
        agents = ["archiver"]
    "#;

    #[test]
    fn who_never_sleeps_gets_priority_on_an_isolated_cpu_only() {
        use Scheduling::{Fifo, Ordinary};
        for (realtime, isolated, path, repair, notes) in [
            ("isolated", &[1][..], Fifo(50), Fifo(20), 0),
            ("isolated", &[][..], Ordinary, Fifo(20), 2),
            ("anywhere", &[][..], Fifo(50), Fifo(20), 1),
            ("off", &[1][..], Ordinary, Ordinary, 0),
        ] {
            let placement = placed(TABLES, realtime, isolated);
            assert_eq!(placement.scheduling, [path, repair, Ordinary], "{realtime} {isolated:?}");
            assert_eq!(placement.notes.len(), notes, "{:?}", placement.notes);
            assert!(placement.notes.iter().all(|note| note.contains("not isolated")));
        }
    }

    #[test]
    fn a_cpu_that_is_not_there_is_told_and_needs_no_isolation() {
        for realtime in ["off", "isolated"] {
            let notes = placed(&TABLES.replace("cpu = 1", "cpu = 4"), realtime, &[]).notes;
            assert_eq!(notes.len(), 1, "{notes:?}");
            assert!(notes[0].contains("has no CPU 4, but 0-1") && notes[0].contains("sleeps"));
        }
    }

    #[test]
    fn a_process_that_was_raised_comes_down_again() {
        std::thread::spawn(|| {
            let before = scheduled();
            let mut placement = placed(TABLES, "anywhere", &[]);
            let notes = placement.notes.len();
            let raised = placement.raise();
            match scheduled() {
                Scheduling::Fifo(priority) => assert_eq!(priority, 50),
                _ => assert!(placement.notes.len() > notes, "refused, and nobody is told"),
            }
            drop(raised);
            assert_eq!(scheduled(), before);
        })
        .join()
        .unwrap();
    }
}
