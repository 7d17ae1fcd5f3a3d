//! What a capture counts: each tap for itself, the writer for itself, told together.

use crate::counters::{Counter, CounterSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Written by one tap's thread.
#[derive(Debug, Default)]
pub(super) struct TapCounters {
    /// Frames copied into the ring.
    pub(super) captured: Counter,
    /// Frames that found no room there.
    pub(super) dropped: Counter,
}

/// Written by the writer's thread.
#[derive(Debug, Default)]
pub(super) struct WriterCounters {
    pub(super) written: Counter,
    pub(super) unwritten: Counter,
    pub(super) bytes: Counter,
    pub(super) files: Counter,
    pub(super) errors: Counter,
    /// Error number of the last failure; 0 once files can be written again.
    pub(super) error: Counter,
}

/// Counters of a capture. The taps' are right even while the writer stands still.
pub struct CaptureCounters {
    pub(super) on: Arc<AtomicBool>,
    pub(super) taps: Vec<Arc<TapCounters>>,
    pub(super) writer: WriterCounters,
}

const HELP: [(&str, &str); 8] = [
    ("on", "1 while frames are captured"),
    ("frames_captured", "frames that the taps have copied"),
    ("frames_dropped", "frames that the capture lacks because a tap's ring was full"),
    ("frames_written", "frames written to files"),
    ("frames_unwritten", "frames that the capture lacks because the disk refused them"),
    ("bytes_written", "bytes written to files"),
    ("files_opened", "files begun"),
    ("write_errors", "times that a file could not be made or written"),
];

impl CaptureCounters {
    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Frames that are in files.
    pub fn written(&self) -> u64 {
        self.writer.written.get()
    }

    /// Frames that the capture lacks: no room in a ring, or none on the disk.
    pub fn lacking(&self) -> u64 {
        self.sum(|tap| &tap.dropped) + self.writer.unwritten.get()
    }

    /// Why files cannot be written at present: error number of the host.
    pub fn error(&self) -> Option<i32> {
        Some(self.writer.error.get() as i32).filter(|&error| error != 0)
    }

    fn sum(&self, of: impl Fn(&TapCounters) -> &Counter) -> u64 {
        self.taps.iter().map(|tap| of(tap).get()).sum()
    }
}

impl CounterSet for CaptureCounters {
    fn agent(&self) -> &'static str {
        "capture"
    }

    fn visit(&self, visit: &mut dyn FnMut(&'static str, u64)) {
        let values = [
            u64::from(self.is_on()),
            self.sum(|tap| &tap.captured),
            self.sum(|tap| &tap.dropped),
            self.writer.written.get(),
            self.writer.unwritten.get(),
            self.writer.bytes.get(),
            self.writer.files.get(),
            self.writer.errors.get(),
        ];
        for ((name, _), value) in HELP.iter().zip(values) {
            visit(name, value);
        }
    }

    fn help(&self, name: &str) -> Option<&'static str> {
        HELP.iter().find(|(known, _)| *known == name).map(|(_, help)| *help)
    }
}
