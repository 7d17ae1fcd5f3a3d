//! Agents on threads, threads on CPUs: `[[thread]]` tables, or a layout for a host of some size.
//!
//! Consumes tables of the configuration; produces [`ThreadConfig`]s. Does not look at the host:
//! whether it has these CPUs, and whether they are isolated, a start and the doctor tell.

use super::table::{Fault, Section};
use super::{AgentName, Idle, ThreadConfig};
use toml::Table;

type Faults = Vec<Fault>;

/// Budget of a cycle when nothing else is said: a quarter of the 200 us that a broker would notice.
const BUDGET_US: u64 = 50;

/// Placement without `[[thread]]` tables (`[host] layout`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// Nothing pinned, nobody spins: a machine that the venue shares.
    Shared,
    /// A host of so many CPUs: 2, 4, 8 or 16. The highest ones are the venue's.
    Cpus(usize),
}

impl Layout {
    /// All of them with their names.
    pub(super) const ALL: [(&str, Layout); 5] = [
        ("shared", Layout::Shared),
        ("2", Layout::Cpus(2)),
        ("4", Layout::Cpus(4)),
        ("8", Layout::Cpus(8)),
        ("16", Layout::Cpus(16)),
    ];

    /// The one for a host of some size that `[host]` asks for, if it does.
    pub(super) fn chosen(host: &Table) -> Option<&'static str> {
        let text = host.get("layout")?.as_str()?;
        let found = Layout::ALL.iter().find(|(name, _)| *name == text)?;
        matches!(found.1, Layout::Cpus(_)).then_some(found.0)
    }

    /// Its threads, the order path first.
    ///
    /// Up to 4 CPUs the order path runs to completion on one: a hop to another CPU costs 30-55 ns and
    /// buys nothing while one thread keeps up with the peak. With 8 and 16 it is a line of CPUs: more
    /// orders a second, and none waits for the work of another stage. Publisher and egress stay beside
    /// each other in the line, so that lines A and B leave with or before the reports. CPUs 0 and up
    /// that stand in no thread are for the kernel and everything else: 1, 2, 4 and 7 of them.
    pub(super) fn threads(self) -> Vec<ThreadConfig> {
        use AgentName::*;
        let path = [Ingress, Sequencer, Engine, Publisher, Egress, Timer];
        let spin = |cpu, agents: &[AgentName]| thread(agents, Some(cpu), Idle::Spin);
        let park = |agents: &[AgentName]| thread(agents, None, Idle::Park);
        match self {
            Layout::Shared => {
                vec![park(&path), park(&[Replayer, Retransmitter]), park(&[Archiver])]
            }
            Layout::Cpus(0..4) => {
                vec![spin(1, &path), park(&[Replayer, Retransmitter]), park(&[Archiver])]
            }
            Layout::Cpus(4..8) => {
                vec![spin(3, &path), spin(2, &[Replayer, Retransmitter]), park(&[Archiver])]
            }
            Layout::Cpus(8..16) => vec![
                spin(4, &[Ingress, Sequencer, Timer]),
                spin(5, &[Engine]),
                spin(6, &[Publisher, Egress]),
                spin(7, &[Replayer, Retransmitter]),
                park(&[Archiver]),
            ],
            Layout::Cpus(_) => vec![
                spin(8, &[Ingress]),
                spin(9, &[Sequencer, Timer]),
                spin(10, &[Engine]),
                spin(11, &[Publisher, Egress]),
                spin(12, &[Replayer]),
                spin(13, &[Retransmitter]),
                thread(&[Archiver], Some(14), Idle::Park),
            ],
        }
    }
}

fn thread(agents: &[AgentName], cpu: Option<usize>, idle: Idle) -> ThreadConfig {
    ThreadConfig {
        agents: agents.to_vec(),
        cpu,
        idle,
        priority: None,
        cycle_budget_ns: BUDGET_US * 1_000,
    }
}

/// The `[[thread]]` tables, if there are any; every agent must then stand in exactly one, or in one at
/// most where they are not `whole`.
pub(super) fn read_threads(
    tables: Vec<Table>,
    whole: bool,
    faults: &mut Faults,
) -> Option<Vec<ThreadConfig>> {
    if tables.is_empty() {
        return None;
    }
    let mut placed: Vec<AgentName> = Vec::new();
    let mut threads = Vec::new();
    for (i, table) in tables.into_iter().enumerate() {
        let mut s = Section::new(format!("thread[{i}]"), table);
        threads.extend(read_thread(&mut s, &mut placed));
        s.finish(faults);
    }
    for agent in AgentName::ALL {
        if whole && !placed.contains(&agent) {
            faults.push(Fault {
                key: "thread".into(),
                value: None,
                allowed: format!("agent \"{}\" stands on no thread", agent.text()),
            });
        }
    }
    Some(threads)
}

fn read_thread(s: &mut Section, placed: &mut Vec<AgentName>) -> Option<ThreadConfig> {
    let all = AgentName::ALL.map(AgentName::text).join(", ");
    let allowed = format!("must be a list of agents out of: {all}");
    let mut agents = Vec::new();
    for text in s.texts("agents", &allowed) {
        match AgentName::ALL.into_iter().find(|a| a.text() == text) {
            None => s.fault("agents", Some(format!("{text:?}")), allowed.clone()),
            Some(agent) if placed.contains(&agent) => {
                s.fault("agents", Some(format!("{text:?}")), "stands on another thread already")
            }
            Some(agent) => {
                placed.push(agent);
                agents.push(agent);
            }
        }
    }
    if agents.contains(&AgentName::Archiver) && agents.len() > 1 {
        let why = "the archiver waits for the disk: it needs a thread of its own";
        s.fault("agents", None, why);
    }
    let cpu = s.number("cpu", Some(u64::MAX), 0..=1_023, "a CPU's number");
    let idle = s.text_with(
        "idle",
        Some(Idle::Park),
        "must be \"spin\" (isolated CPU only), \"yield\" or \"park\"",
        |t| match t {
            "spin" => Some(Idle::Spin),
            "yield" => Some(Idle::Yield),
            "park" => Some(Idle::Park),
            _ => None,
        },
    );
    let priority = s.number("priority", Some(0), 1..=98, "SCHED_FIFO priority");
    let budget = s.number("cycle_budget_us", Some(BUDGET_US), 1..=1_000_000, "microseconds");
    let (cpu, priority) = (cpu?, priority?);
    Some(ThreadConfig {
        agents,
        cpu: (cpu != u64::MAX).then_some(cpu as usize),
        idle: idle?,
        priority: (priority != 0).then_some(priority as u8),
        cycle_budget_ns: budget? * 1_000,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layout_places_every_agent_once_and_leaves_the_kernel_its_cpus() {
        for (text, layout) in Layout::ALL {
            let threads = layout.threads();
            let mut agents: Vec<_> = threads.iter().flat_map(|t| t.agents.clone()).collect();
            agents.sort();
            assert_eq!(agents, AgentName::ALL, "{text}");
            let mut cpus: Vec<_> = threads.iter().filter_map(|t| t.cpu).collect();
            let named = cpus.len();
            cpus.dedup();
            assert_eq!(cpus.len(), named, "{text}: two threads on one CPU");
            let Layout::Cpus(all) = layout else {
                assert!(cpus.is_empty() && threads.iter().all(|t| t.idle == Idle::Park));
                continue;
            };
            assert!(cpus.iter().all(|&cpu| cpu < all && cpu >= all / 2), "{text}: {cpus:?}");
            for thread in &threads {
                assert_eq!(
                    thread.idle == Idle::Spin,
                    thread.agents != [AgentName::Archiver] && thread.cpu.is_some()
                );
            }
        }
    }
}
