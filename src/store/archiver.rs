//! The archiver: copies both logs to disk, prepares segments ahead, unlinks archived ones.

use super::CommitPolicy;
use crate::agent::Agent;
use crate::types::Nanos;

/// How the archiver groups writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArchiverOptions {
    /// Time to wait for more bytes before a group is written; 0 = at once.
    pub group_wait_ns: u64,
}

impl ArchiverOptions {
    /// 1 ms under `Memory`, at once under `Disk`, where orders wait for it.
    pub fn for_policy(policy: CommitPolicy) -> ArchiverOptions {
        ArchiverOptions {
            group_wait_ns: match policy {
                CommitPolicy::Memory => 1_000_000,
                CommitPolicy::Disk => 0,
            },
        }
    }
}

/// The archiver of a day. May block: a thread of its own.
pub struct Archiver {}

impl Agent for Archiver {
    fn name(&self) -> &'static str {
        "archiver"
    }

    fn duty_cycle(&mut self, _now: Nanos) -> usize {
        panic!("not yet")
    }
}
