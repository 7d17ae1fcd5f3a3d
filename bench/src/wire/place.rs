//! Where a run takes place: two hosts on one machine with a wire between them, a directory, two CPUs.
//!
//! Makes the veth pair and the directories and takes both away again, also after Ctrl-C. Must not
//! know what is measured.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rialto::host::wire::Wire;
use rialto::store::memory_free_bytes;

/// Raised by SIGINT and SIGTERM.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Hot tier of the venue's logs, both together.
pub const HOT_BYTES: u64 = 1 << 30;

/// CPUs and scheduling class of the two spinning threads.
#[derive(Clone, Copy, Debug)]
pub struct Cpus {
    /// The server's thread that serves.
    pub server: usize,
    /// The client's only thread.
    pub client: usize,
    /// SCHED_FIFO priority of both; `None` = ordinary scheduling.
    pub fifo: Option<i32>,
}

/// The wire and the directories of a run.
pub struct Place {
    /// Both hosts.
    pub wire: Wire,
    /// Configuration and logs.
    pub dir: PathBuf,
    /// Hot tier of the logs.
    pub hot: PathBuf,
}

impl Place {
    /// Makes everything. Err says what this user or host lacks.
    pub fn make() -> Result<Place, String> {
        // SAFETY: the handler stores into an atomic, which a handler may do.
        unsafe {
            let handler = on_signal as extern "C" fn(libc::c_int);
            libc::signal(libc::SIGINT, handler as libc::sighandler_t);
            libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
        }
        let wire = Wire::new().map_err(|e| format!("no veth pair: {e}"))?;
        let id = std::process::id();
        let dir = std::env::temp_dir().join(format!("rialto-wire-{id}"));
        let shm = Path::new("/dev/shm");
        let hot = match memory_free_bytes(shm) {
            Some(free) if free >= HOT_BYTES => shm.join(format!("rialto-wire-{id}")),
            _ => return Err("the logs' hot tier needs 1 GiB free in /dev/shm".into()),
        };
        let place = Place { wire, dir, hot };
        place.clear()?;
        Ok(place)
    }

    /// Empty directories again.
    pub fn clear(&self) -> Result<(), String> {
        self.remove();
        std::fs::create_dir_all(&self.dir)
            .map_err(|e| format!("create {}: {e}", self.dir.display()))
    }

    fn remove(&self) {
        // Gone already, or told by whoever creates them next.
        let _ = std::fs::remove_dir_all(&self.dir);
        let _ = std::fs::remove_dir_all(&self.hot);
    }

    /// Address of the client's host.
    pub fn client(&self) -> Ipv4Addr {
        self.wire.clients.ip
    }

    /// Address of the server's host.
    pub fn server(&self) -> Ipv4Addr {
        self.wire.exchange.ip
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Err once the run was told to stop.
pub fn check_interrupt() -> Result<(), String> {
    match INTERRUPTED.load(Ordering::Relaxed) {
        true => Err("interrupted".into()),
        false => Ok(()),
    }
}

/// Moves the calling thread to `cpu`, and into SCHED_FIFO where asked.
pub fn take_cpu(cpu: usize, fifo: Option<i32>) -> Result<(), String> {
    if !rialto::agent::pin(cpu) {
        return Err(format!("this process may not use CPU {cpu}"));
    }
    let Some(priority) = fifo else { return Ok(()) };
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: 0 is the calling thread; the structure outlives the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(format!("SCHED_FIFO {priority}: {}", std::io::Error::last_os_error())),
    }
}
