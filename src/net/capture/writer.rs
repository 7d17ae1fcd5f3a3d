//! The cold half: [`Writer`] takes frames out of the rings and writes files.
//!
//! Consumes what taps copied, in the order of time as far as it has come; produces pcapng files. An
//! agent for a thread of its own, where a slow disk delays nobody: rings fill, and taps drop. A disk
//! that refuses costs frames, which are counted, and is tried again. Must not know what frames say.

use super::counters::{CaptureCounters, WriterCounters};
use super::files::Files;
use super::pcapng::{self, PACKET_BYTES_MORE, STATISTICS_BYTES};
use super::ring::Head;
use super::switch::Switch;
use super::{Interface, Source};
use crate::agent::Agent;
use crate::types::Nanos;
use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Frames per duty cycle.
const BURST: usize = 1_024;
/// Bytes that are written at once, when there are so many.
const WRITE_BYTES: usize = 128 << 10;
/// Bytes that wait for the file no longer than this, so that a reader who follows sees them; and
/// requests to switch no longer.
const LOOK_NS: u64 = 100_000_000;
/// A disk that has refused is left in peace for so long.
const RETRY_NS: u64 = 1_000_000_000;

/// What one interface's files have said of it so far.
#[derive(Default)]
struct Tally {
    /// Frames in the open file.
    written: u64,
    /// Frames in the buffer, and how many are lacking as they say.
    buffered: u64,
    buffered_lacking: u64,
    /// Frames that the disk refused, all.
    unwritten: u64,
    /// Of those, how many a packet's block has not said yet.
    unwritten_untold: u64,
    /// Frames lacking, by drops and by the disk, that an earlier file's end has said.
    told: u64,
}

/// Writes the files of a capture. Dropped, it takes what is still in the rings and ends the file.
pub struct Writer {
    on: Arc<AtomicBool>,
    interfaces: Vec<Interface>,
    sources: Vec<Source>,
    tallies: Vec<Tally>,
    files: Files,
    switch: Option<Switch>,
    counters: Arc<CaptureCounters>,
    /// Whole blocks that are not in the file yet.
    buffer: Vec<u8>,
    /// A frame as the ring has it, and with headers made up.
    bytes: Vec<u8>,
    frame: Vec<u8>,
    next_look: Nanos,
    retry_at: Nanos,
    /// Time of the last cycle.
    now: Nanos,
}

impl Writer {
    pub(super) fn new(
        on: Arc<AtomicBool>,
        interfaces: Vec<Interface>,
        sources: Vec<Source>,
        files: Files,
        switch: Option<Switch>,
    ) -> Writer {
        if let Some(switch) = &switch {
            switch.withdraw();
        }
        let counters = CaptureCounters {
            on: on.clone(),
            taps: sources.iter().map(|source| source.counters.clone()).collect(),
            writer: WriterCounters::default(),
        };
        Writer {
            on,
            tallies: interfaces.iter().map(|_| Tally::default()).collect(),
            interfaces,
            sources,
            files,
            switch,
            counters: Arc::new(counters),
            buffer: Vec::with_capacity(2 * WRITE_BYTES),
            bytes: Vec::new(),
            frame: Vec::new(),
            next_look: Nanos(0),
            retry_at: Nanos(0),
            now: Nanos(0),
        }
    }

    /// Counters, shared.
    pub fn counters(&self) -> Arc<CaptureCounters> {
        self.counters.clone()
    }

    /// Takes the frame with the earliest time among those that are there; false when there is none.
    fn take(&mut self) -> bool {
        let mut earliest: Option<(Nanos, usize)> = None;
        for (at, source) in self.sources.iter_mut().enumerate() {
            if let Some(time) = source.frames.peek()
                && earliest.is_none_or(|(first, _)| time < first)
            {
                earliest = Some((time, at));
            }
        }
        let Some((_, at)) = earliest else { return false };
        let interface = self.sources[at].interface;
        let Some(head) = self.sources[at].frames.pop(&mut self.bytes) else { return false };
        if self.now < self.retry_at {
            self.refuse(interface, u64::from(head.dropped) + 1);
        } else if let Err(error) = self.put(interface, &head) {
            self.fail(&error);
        }
        true
    }

    /// Frames of an interface that do not get into a file, `lacking` with those dropped before.
    fn refuse(&mut self, interface: usize, lacking: u64) {
        let tally = &mut self.tallies[interface];
        tally.unwritten += 1;
        tally.unwritten_untold += lacking;
        self.counters.writer.unwritten.add(1);
    }

    fn put(&mut self, interface: usize, head: &Head) -> Result<()> {
        if let Some((from, to)) = head.ends {
            pcapng::made_up(&mut self.frame, from, to, &self.bytes);
        } else {
            std::mem::swap(&mut self.frame, &mut self.bytes);
        }
        let ends = self.interfaces.len() * STATISTICS_BYTES;
        let more = self.buffer.len() + self.frame.len() + PACKET_BYTES_MORE + ends;
        let mut ready = Ok(());
        if !self.files.has_room(more) {
            ready = self.finish().and_then(|()| self.begin());
        }
        // In the buffer in any case: what is in there when something fails is counted as refused.
        let tally = &mut self.tallies[interface];
        let lacking = u64::from(head.dropped) + std::mem::take(&mut tally.unwritten_untold);
        let place = (interface, head.direction);
        pcapng::packet(&mut self.buffer, place, head.time, lacking, &self.frame);
        tally.buffered += 1;
        tally.buffered_lacking += lacking;
        ready?;
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn begin(&mut self) -> Result<()> {
        self.files.begin(self.now)?;
        self.counters.writer.files.add(1);
        pcapng::head(&mut self.buffer, &self.interfaces);
        Ok(())
    }

    /// Hands the buffer to the file.
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.files.append(&self.buffer)?;
        let writer = &self.counters.writer;
        writer.bytes.add(self.buffer.len() as u64);
        writer.error.set(0);
        for tally in &mut self.tallies {
            writer.written.add(tally.buffered);
            tally.written += std::mem::take(&mut tally.buffered);
            tally.buffered_lacking = 0;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Ends the open file with the counts of each interface.
    fn finish(&mut self) -> Result<()> {
        if !self.files.is_open() {
            return Ok(());
        }
        self.flush()?;
        let mut lacking = Vec::new();
        for (interface, tally) in self.tallies.iter().enumerate() {
            let of = self.sources.iter().filter(|source| source.interface == interface);
            let dropped: u64 = of.map(|source| source.counters.dropped.get()).sum();
            let all = dropped + tally.unwritten;
            let here = all - tally.told;
            let seen = tally.written + here;
            pcapng::statistics(&mut self.buffer, interface, self.now, seen, here);
            lacking.push(all);
        }
        self.flush()?;
        self.files.close();
        for (tally, all) in self.tallies.iter_mut().zip(lacking) {
            tally.told = all;
            tally.written = 0;
        }
        Ok(())
    }

    /// The disk has refused: what was on its way is lost, and there is a pause.
    fn fail(&mut self, error: &Error) {
        self.retry_at = self.now.plus(RETRY_NS);
        let writer = &self.counters.writer;
        writer.errors.add(1);
        writer.error.set(error.raw_os_error().unwrap_or(libc::EIO) as u64);
        self.files.close();
        self.buffer.clear();
        for tally in &mut self.tallies {
            writer.unwritten.add(tally.buffered);
            tally.unwritten += tally.buffered;
            let untold = tally.buffered + tally.buffered_lacking;
            tally.unwritten_untold += untold;
            (tally.written, tally.buffered, tally.buffered_lacking) = (0, 0, 0);
        }
    }

    /// Obeys the switch, and lets readers see what there is.
    fn look(&mut self, now: Nanos, idle: bool) -> Result<()> {
        self.next_look = now.plus(LOOK_NS);
        if let Some(on) = self.switch.as_ref().and_then(Switch::take) {
            self.on.store(on, Ordering::Relaxed);
            return self.flush();
        }
        // A look later than the switch: whoever was in the middle of a frame is through by now.
        if idle && !self.on.load(Ordering::Relaxed) { self.finish() } else { self.flush() }
    }
}

impl Agent for Writer {
    fn name(&self) -> &'static str {
        "capture"
    }

    fn duty_cycle(&mut self, now: Nanos) -> usize {
        self.now = now;
        let mut taken = 0;
        while taken < BURST && self.take() {
            taken += 1;
        }
        if now >= self.next_look
            && let Err(error) = self.look(now, taken == 0)
        {
            self.fail(&error);
        }
        taken
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.on.store(false, Ordering::Relaxed);
        while self.take() {}
        if let Err(error) = self.finish() {
            self.fail(&error);
        }
    }
}
