//! What the configuration asks of the host.
//!
//! Consumes a checked configuration and what the command line adds; produces plain numbers that
//! doctor holds against the host and configure writes into it.

use super::cpus;
use crate::config::{Config, Idle, LockMemory, Realtime, ThreadConfig};
use crate::net::xdp::{PathWish, RECEIVE_FRAMES, TRANSMIT_FRAMES};
use std::path::PathBuf;

/// What the command line says beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Network interface of orders and feed.
    pub interface: Option<String>,
    /// The way that datagrams take; `None` = as the configuration says.
    pub path: Option<PathWish>,
}

/// Demands on a host.
#[derive(Clone, Debug)]
pub struct Needs {
    /// CPUs that `[[thread]]` tables name, ascending: nothing else should run there.
    pub application: Vec<usize>,
    /// CPUs for everything else; `None` = all that are online and not `application`.
    pub housekeeping: Option<Vec<usize>>,
    /// A thread spins.
    pub spins: bool,
    /// A thread has a SCHED_FIFO priority.
    pub has_priority: bool,
    /// The venue locks all of its memory, where it may.
    pub locks_memory: bool,
    /// Or does not start.
    pub must_lock_memory: bool,
    /// A thread that spins has a SCHED_FIFO priority.
    pub spins_with_priority: bool,
    /// Directory of the hot tier.
    pub hot: PathBuf,
    /// The hot tier in full, bytes.
    pub hot_bytes: u64,
    /// Without so much, the start is refused, bytes.
    pub hot_bytes_min: u64,
    /// The hot tier may lie on a disk.
    pub degraded: bool,
    /// The exchange's tables, twice: venue and shadow, bytes.
    pub table_bytes: u64,
    /// Directory of the days.
    pub data: PathBuf,
    /// Both logs of a day, bytes.
    pub day_bytes: u64,
    /// Network interface; `None` = the one that has the address of `gateway.listen`.
    pub interface: Option<String>,
    /// Address that orders come to.
    pub listen: std::net::Ipv4Addr,
    /// The way that datagrams take.
    pub path: PathWish,
    /// Receive queues that the venue reads.
    pub queues: u32,
    /// Frames of the UMEM, bytes in all; 0 without AF_XDP.
    pub umem_bytes: u64,
    /// Bytes of a frame of the UMEM that a packet can use.
    pub frame_bytes: u64,
    /// Entries of the ring that hands frames to the card.
    pub fill_entries: u32,
    /// Huge pages of 2 MiB that must be there.
    pub huge_pages: u64,
    /// UDP ports that the venue receives on.
    pub ports: Vec<u16>,
}

/// Frames of a queue, of 2,048 bytes.
const UMEM_BYTES: u64 = (RECEIVE_FRAMES as u64 + TRANSMIT_FRAMES as u64) * 2_048;
/// A frame of 2,048 bytes less the 256 that the kernel keeps in front of the packet
/// (XDP_PACKET_HEADROOM, linux/bpf.h).
const FRAME_BYTES: u64 = 2_048 - 256;
const FILL_ENTRIES: u32 = RECEIVE_FRAMES;
/// Segments of each log that must fit before a start: see `topology`.
const SEGMENTS_MIN: u64 = 4;

impl Needs {
    /// Of a configuration; `hot` is where its hot tier lies.
    pub fn of(config: &Config, hot: PathBuf, options: &HostOptions) -> Needs {
        let sizing = config.sizing();
        let by_class = config.host.realtime != Realtime::Off;
        let has_priority = |t: &ThreadConfig| by_class && t.priority.is_some();
        let mut application: Vec<usize> = config.threads.iter().filter_map(|t| t.cpu).collect();
        application.sort_unstable();
        application.dedup();
        let interface = options.interface.clone().or_else(|| config.network.interface.clone());
        let path = options.path.unwrap_or(config.network.path);
        let queues = config.network.queues.len() as u32;
        let umem_bytes = if path == PathWish::Udp { 0 } else { UMEM_BYTES * u64::from(queues) };
        Needs {
            application,
            housekeeping: config.host.housekeeping.clone(),
            spins: config.threads.iter().any(|t| t.idle == Idle::Spin),
            has_priority: config.threads.iter().any(has_priority),
            locks_memory: match config.host.lock_memory {
                LockMemory::Auto => config.threads.iter().any(|t| t.idle == Idle::Spin),
                LockMemory::On => true,
                LockMemory::Off => false,
            },
            must_lock_memory: config.host.lock_memory == LockMemory::On,
            spins_with_priority: config
                .threads
                .iter()
                .any(|t| t.idle == Idle::Spin && has_priority(t)),
            hot,
            hot_bytes: sizing.hot_tier,
            hot_bytes_min: sizing.hot_tier.min(2 * SEGMENTS_MIN * config.segment_bytes),
            degraded: config.degraded_allowed,
            table_bytes: 2 * sizing.tables,
            data: config.data.clone(),
            day_bytes: sizing.command_log + sizing.event_log,
            interface,
            listen: *config.gateway.listen.ip(),
            path,
            queues,
            umem_bytes,
            frame_bytes: FRAME_BYTES,
            fill_entries: FILL_ENTRIES,
            huge_pages: config.host.huge_pages.max(umem_bytes.div_ceil(2 << 20)),
            ports: vec![config.gateway.listen.port(), config.feed.repair.port()],
        }
    }

    /// CPUs for everything that is not the venue's order path, of those that are online.
    pub fn housekeeping_of(&self, online: &[usize]) -> Vec<usize> {
        match &self.housekeeping {
            Some(cpus) => cpus::common(cpus, online),
            None => cpus::without(online, &self.application),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_priority_that_the_configuration_has_switched_off_needs_nothing() {
        for (realtime, has) in [("off", false), ("isolated", true), ("anywhere", true)] {
            let text = format!(
                "{}\n[host]\nrealtime = \"{realtime}\"\n[[thread]]\nagents = [\"ingress\", \"sequencer\", \
                 \"engine\", \"publisher\", \"egress\", \"timer\"]\ncpu = 1\nidle = \"spin\"\n\
                 priority = 50\n[[thread]]\nagents = [\"replayer\", \"retransmitter\"]\n[[thread]]\n\
                 agents = [\"archiver\"]\n",
                include_str!("../../rialto.toml")
            );
            let config = Config::parse(Path::new("rialto.toml"), &text).unwrap();
            let needs = Needs::of(&config, PathBuf::from("/dev/shm/x"), &HostOptions::default());
            assert_eq!((needs.has_priority, needs.spins_with_priority), (has, has), "{realtime}");
        }
    }
}
