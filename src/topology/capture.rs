//! The capture of a venue: made from the configuration, its writer on a thread of its own.

use super::StartError;
use crate::agent::{IdleStrategy, Runner, RunnerHandle, RunnerOptions};
use crate::config::{Config, date_text};
use crate::net::capture::{Capture, CaptureCounters, FilesConfig, Writer};
use crate::types::Nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest sleep of the writer: a tap's ring holds some ms more at any rate that the venue takes.
const PARK_NS: u64 = 4_000_000;
/// A stop waits so long for the last file, in steps; a disk that stands still does not hold it up.
const END_STEPS: u32 = 200;
const END_STEP: Duration = Duration::from_millis(10);

/// What the configuration asks for, without taps yet.
pub(super) fn capture(config: &Config) -> Option<Capture> {
    config.capture.as_ref().map(|wish| Capture::new(wish.on, wish.ring_bytes))
}

/// The writer for the taps made so far. While files can still be opened anywhere.
pub(super) fn writer(
    config: &Config,
    capture: Option<Capture>,
) -> Result<Option<Writer>, StartError> {
    let (Some(wish), Some(capture)) = (&config.capture, capture) else { return Ok(None) };
    let files = FilesConfig {
        directory: wish.directory.clone(),
        file_bytes_max: wish.file_bytes_max,
        files_max: wish.files_max,
        time_text,
    };
    let what = "the capture";
    let writer = capture.writer(files, Some(config.data.clone()));
    writer.map(Some).map_err(|cause| StartError::Host { what, cause })
}

/// `2026-01-31T093000Z`.
fn time_text(now: Nanos) -> String {
    let seconds = now.0 / 1_000_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!("{}T{hour:02}{minute:02}{:02}Z", date_text(days), second % 60)
}

/// The writer's thread. It has a stop of its own: it ends after those that it captures, and its death
/// is not the venue's.
pub(super) struct Recorder {
    handle: RunnerHandle,
    stop: Arc<AtomicBool>,
    pub(super) counters: Arc<CaptureCounters>,
}

impl Recorder {
    /// `plain`: as any thread without haste.
    pub(super) fn start(writer: Writer, plain: RunnerOptions) -> Result<Recorder, StartError> {
        let stop = Arc::new(AtomicBool::new(false));
        let counters = writer.counters();
        let options = RunnerOptions {
            stop: stop.clone(),
            idle: IdleStrategy::Park { spin_ns: 0 },
            park_ns_max: PARK_NS,
            ..plain
        };
        let handle = Runner::spawn("rialto-capture", vec![Box::new(writer)], options)
            .map_err(|cause| StartError::Host { what: "start a thread", cause })?;
        Ok(Recorder { handle, stop, counters })
    }

    /// Ends the last file.
    pub(super) fn end(self) {
        self.stop.store(true, Ordering::Release);
        for _ in 0..END_STEPS {
            if self.handle.is_finished() {
                if let Err(panic) = self.handle.join() {
                    tracing::error!("the capture died: {panic}");
                }
                return;
            }
            std::thread::sleep(END_STEP);
        }
        tracing::warn!("the capture's last file is not ended: its disk stands still");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_names_sort() {
        let at = |seconds: u64| time_text(Nanos(seconds * 1_000_000_000 + 999_999_999));
        assert_eq!(at(0), "1970-01-01T000000Z");
        assert_eq!(at(1_769_851_805), "2026-01-31T093005Z");
    }
}
