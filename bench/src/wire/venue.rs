//! Rows d, e and f: the venue, a child process that runs `rialto run` as an operator would, with
//! logs, funds and limits on.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rialto::clock::{Clock, SystemClock};
use rialto::host::wire::place;
use rialto::net::xdp::PathWish;
use rialto::types::Nanos;
use serde_json::Value;

use crate::status;

use super::flow::symbol;
use super::login::{key, user};
use super::place::{Cpus, HOT_BYTES, Place, check_interrupt};

/// Longest start.
const START_MAX_NS: u64 = 60_000_000_000;
/// Longest end before it is killed.
const STOP_MAX_NS: u64 = 60_000_000_000;
const SEGMENT_BYTES: u64 = 32 << 20;
/// Messages a second that a session may send, and at once: beyond what any row sends.
const RATE: u64 = 10_000_000;

/// What a venue is told.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The binary.
    pub program: PathBuf,
    /// Way of its datagrams.
    pub path: PathWish,
    /// CPU of the order path, and its scheduling class.
    pub cpus: Cpus,
    /// Sessions, each with an account of its own.
    pub sessions: u32,
    /// Where orders come in.
    pub gateway: SocketAddrV4,
    /// Lines A and B.
    pub groups: [SocketAddrV4; 2],
}

/// The running child.
pub struct Venue {
    child: Child,
    status: PathBuf,
    clock: SystemClock,
    /// The way that its datagrams take, as it says.
    pub path: String,
}

impl Venue {
    /// Starts a venue on empty logs; returns when it serves. Err says why it does not.
    pub fn start(place_of: &Place, setting: &Setting) -> Result<Venue, String> {
        place_of.clear()?;
        let config = place_of.dir.join("rialto.toml");
        std::fs::write(&config, text(place_of, setting))
            .map_err(|e| format!("write {}: {e}", config.display()))?;
        let mut command = Command::new(&setting.program);
        place(&mut command, place_of.wire.exchange.fd());
        die_with_parent(&mut command);
        let mut child = command
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("start {}: {e}", setting.program.display()))?;
        let lines = lines(&mut child);
        let (status, path, clock) = (PathBuf::new(), String::new(), SystemClock::new());
        let mut venue = Venue { child, status, clock, path };
        venue.wait_ready(&lines)?;
        Ok(venue)
    }

    fn wait_ready(&mut self, lines: &Receiver<String>) -> Result<(), String> {
        let begun = self.clock.now();
        while self.clock.now().since(begun) < START_MAX_NS {
            match lines.recv_timeout(Duration::from_millis(50)) {
                Ok(line) => {
                    if let Some(day) = line.strip_prefix("day ") {
                        self.status = Path::new(day).join("status.json");
                    } else if let Some(rest) = line.strip_prefix("ready") {
                        // "ready: orders on ADDRESS (PATH), ..."
                        let path = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
                        self.path = path.map_or("unknown", |(path, _)| path).to_string();
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => check_interrupt()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(
                        "the venue ended before it was ready: its reason stands above".into()
                    );
                }
            }
        }
        Err("the venue is not ready after 60 s".into())
    }

    /// Its status file, written after this call began, and when that was, to some ms. Err: none comes,
    /// or the venue has ended.
    pub fn status(&self) -> Result<(Nanos, Value), String> {
        let status = status::anew(&self.status)?;
        Ok((self.clock.now(), status))
    }

    /// CPU time of each of its threads so far, by name, ms.
    pub fn cpu_ms(&self) -> Vec<(String, u64)> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let Ok(tasks) = std::fs::read_dir(tasks) else { return Vec::new() };
        let read = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            let (head, rest) = stat.rsplit_once(") ")?;
            let name = head.split_once('(')?.1.to_string();
            let fields: Vec<&str> = rest.split(' ').collect();
            let ticks =
                fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
            // SAFETY: takes a constant and returns a number.
            let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
            Some((name, ticks * 1_000 / per_second))
        };
        tasks.flatten().filter_map(read).collect()
    }

    /// Ends it. Err: it ended by itself, or with an error.
    pub fn stop(mut self) -> Result<(), String> {
        // SAFETY: the child is ours and not yet waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let begun = self.clock.now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the venue ended with {status}")),
                Ok(None) if self.clock.now().since(begun) < STOP_MAX_NS => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(None) => return Err("the venue does not end".into()),
                Err(error) => return Err(format!("the venue: {error}")),
            }
        }
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        // Ended already on the good path.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its output, line by line.
fn lines(child: &mut Child) -> Receiver<String> {
    let (tx, rx) = channel();
    if let Some(out) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if tx.send(line).is_err() {
                    break;
                }
            }
        });
    }
    rx
}

/// Whatever ends this process ends the child.
fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec it makes one system call and touches no memory of others.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        })
    };
}

/// The configuration: everything that orders pass on one spinning thread, services beside it.
fn text(place: &Place, setting: &Setting) -> String {
    let Setting { path, cpus, sessions, gateway, groups, .. } = setting;
    let repair = SocketAddrV4::new(*gateway.ip(), gateway.port() + 1);
    // The CPUs need not be isolated: whoever asks for it here has been told.
    let realtime = cpus.fifo.map_or("", |_| "[host]\nrealtime = \"anywhere\"\n\n");
    let fifo = cpus.fifo.map_or(String::new(), |p| format!("priority = {p}\n"));
    let mut t = String::new();
    let _ = write!(
        t,
        "[venue]\nname = \"RIALTO\"\ndata = \"data\"\nhot = {:?}\ntest_keys = true\n\n\
         [capacity]\norders_max = 400000\nsegment_mib = {}\nhot_segments_max = {}\n\n\
         [gateway]\nlisten = \"{gateway}\"\n\n\
         [feed]\na = \"{}\"\nb = \"{}\"\nrepair = \"{repair}\"\ninterface = \"{}\"\n\n\
         [network]\npath = \"{path}\"\n\n[snapshot]\nevery_seconds = 0\n\n\
         [observe]\nstages = true\n\n{realtime}\
         [[thread]]\nagents = [\"ingress\", \"sequencer\", \"engine\", \"publisher\", \"egress\", \"timer\"]\n\
         cpu = {}\nidle = \"spin\"\n{fifo}\n\
         [[thread]]\nagents = [\"replayer\", \"retransmitter\"]\n\n\
         [[thread]]\nagents = [\"archiver\"]\n",
        place.hot,
        SEGMENT_BYTES >> 20,
        HOT_BYTES / 2 / SEGMENT_BYTES,
        groups[0],
        groups[1],
        gateway.ip(),
        cpus.server,
    );
    for pair in 0..sessions.div_ceil(2) {
        let _ = write!(t, "\n[[symbol]]\nname = \"{}\"\nprotection = \"5.00\"\n", symbol(2 * pair));
    }
    for session in 0..*sessions {
        let key: String = key(session).iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(
            t,
            "\n[[firm]]\nname = \"F{session:03}\"\n\n[[account]]\nname = \"A{session:03}\"\n\
             firm = \"F{session:03}\"\ncash = \"1000000000.00\"\nshares = 1000000000\n\
             order_quantity_max = 100000\norder_notional_max = \"50000000.00\"\n\
             day_shares_max = 1000000000000\n\n\
             [[session]]\nuser = \"{}\"\nfirm = \"F{session:03}\"\naccount = \"A{session:03}\"\n\
             key = \"{key}\"\nallow = [\"{}\"]\nrate = {RATE}\nburst = {RATE}\n",
            user(session),
            place.client(),
        );
    }
    t
}
