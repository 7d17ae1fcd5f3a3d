//! Capture: what is received and sent, as files that Wireshark opens. For frames that bypass the
//! kernel, which tcpdump cannot see, and by the same files for datagrams of ordinary sockets.
//!
//! ```text
//!  hot threads: Tap -> ring --.
//!               Tap -> ring --+--> Writer (a thread of its own) -> pcapng files, the oldest removed
//!               ...         --'
//! ```
//!
//! Hot half: [`Tap`], which copies a frame into its ring, and drops it from the capture (never from
//! trading) when there is no room. Off, it is one branch. Cold half: [`Writer`]. [`Capture`] makes
//! both, at set-up. Must not know what datagrams mean.

mod counters;
mod files;
mod pcapng;
mod port;
mod ring;
mod switch;
mod tap;
mod writer;

pub use counters::CaptureCounters;
pub use files::FilesConfig;
pub use port::CapturedPort;
pub use switch::{REQUEST_FILE, Switch};
pub use tap::{CycleStart, Tap, cycle_starts};
pub use writer::Writer;

use counters::TapCounters;
use ring::Receiver;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which way a frame goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To us.
    Received,
    /// From us.
    Sent,
}

/// An interface as the files name it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Interface {
    name: String,
    description: &'static str,
}

/// One tap as the writer sees it.
struct Source {
    interface: usize,
    frames: Receiver,
    counters: Arc<TapCounters>,
}

/// What taps are made from until the writer takes over.
#[derive(Default)]
struct Plan {
    interfaces: Vec<Interface>,
    sources: Vec<Source>,
}

struct Shared {
    on: Arc<AtomicBool>,
    ring_bytes: usize,
    plan: Mutex<Plan>,
}

/// A capture that is being set up: make the taps, then the writer. Clones are the same capture.
#[derive(Clone)]
pub struct Capture {
    shared: Arc<Shared>,
}

impl Capture {
    /// Without taps yet. `ring_bytes`: memory of each tap, rounded up to a power of two.
    pub fn new(on: bool, ring_bytes: usize) -> Capture {
        let on = Arc::new(AtomicBool::new(on));
        Capture { shared: Arc::new(Shared { on, ring_bytes, plan: Mutex::default() }) }
    }

    /// A tap for one thread. Taps of the same `name` are one interface in the files. Taps made after
    /// [`Capture::writer`] are read by nobody: they fill, then drop.
    pub fn tap(&self, name: &str, description: &'static str) -> Tap {
        let mut plan = self.plan();
        let known = plan.interfaces.iter().position(|i| i.name == name);
        let interface = known.unwrap_or_else(|| {
            plan.interfaces.push(Interface { name: name.into(), description });
            plan.interfaces.len() - 1
        });
        let (sender, frames) = ring::ring(self.shared.ring_bytes);
        let counters = Arc::new(TapCounters::default());
        plan.sources.push(Source { interface, frames, counters: counters.clone() });
        drop(plan);
        let on = self.shared.on.clone();
        Tap::new(on, sender, counters, (self.clone(), name.into(), description))
    }

    /// The writer for all taps made so far. Makes the directory (mode 0700) when it is not there, and
    /// proves that files can be made in it. `data`: directory in which it looks for requests to
    /// switch; a request that is there already is old, and removed. Err: the directory, named.
    pub fn writer(&self, files: FilesConfig, data: Option<PathBuf>) -> std::io::Result<Writer> {
        let files = files::Files::open(files)?;
        let Plan { interfaces, sources } = std::mem::take(&mut *self.plan());
        let on = self.shared.on.clone();
        Ok(Writer::new(on, interfaces, sources, files, data.map(Switch::new)))
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        // Only set-up holds it, and a panic there ends the start.
        self.shared.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests;
