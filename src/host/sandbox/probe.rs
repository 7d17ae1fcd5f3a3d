//! What must fail inside, tried: `rialto run --probe-sandbox` and its suite.

use std::fs::File;
use std::io::Error;
use std::path::Path;

/// Something that was tried, and what the kernel said.
#[derive(Debug)]
pub struct Attempt {
    /// What.
    pub what: String,
    /// Error number that it must have; `None` = it must succeed.
    pub wanted: Option<i32>,
    /// Its error; `None` = it succeeded.
    pub error: Option<Error>,
}

impl Attempt {
    /// Whether it came out as it must.
    pub fn is_right(&self) -> bool {
        self.wanted == self.error.as_ref().and_then(Error::raw_os_error)
            && self.wanted.is_some() == self.error.is_some()
    }
}

/// Tries files, sockets, processes and memory, from the calling thread. `dir` is one that the venue
/// writes to; a file is made there and removed.
pub fn attempts(dir: &Path) -> Vec<Attempt> {
    let tried = |what: &str, wanted, result: Result<(), Error>| Attempt {
        what: what.into(),
        wanted,
        error: result.err(),
    };
    // A raw call by number: `what` is then refused by the filter, not by glibc.
    let call = |number, a: libc::c_long, b: libc::c_long, c: libc::c_long| {
        // SAFETY: every call below gets small integers and null pointers: the kernel answers them with
        // an error, or with a descriptor that ends with the process; none touches our memory.
        match unsafe { libc::syscall(number, a, b, c, 0, 0, 0) } {
            -1 => Err(Error::last_os_error()),
            _ => Ok(()),
        }
    };
    let (files, calls) = (Some(libc::EACCES), Some(libc::EPERM));
    let own = dir.join(".rialto-probe");
    let outside = dir.join("..").join(".rialto-probe-outside");
    vec![
        tried(
            "make a file in the data directory",
            None,
            std::fs::write(&own, b"x").and_then(|()| std::fs::remove_file(&own)),
        ),
        tried("read /etc/passwd", files, File::open("/etc/passwd").map(drop)),
        tried("make a file beside the data directory", files, File::create(&outside).map(drop)),
        tried("read /proc/self/environ", files, File::open("/proc/self/environ").map(drop)),
        tried("a socket (UDP)", calls, call(libc::SYS_socket, 2, 2, 0)),
        tried("a socket (AF_XDP)", calls, call(libc::SYS_socket, 44, 3, 0)),
        // No program at all: where it is allowed, it fails in another way.
        tried("start a program", calls, call(libc::SYS_execve, 0, 0, 0)),
        tried("a process (std)", calls, process()),
        tried("a thread (clone3)", calls, call(libc::SYS_clone3, 0, 0, 0)),
        tried("ptrace", calls, call(libc::SYS_ptrace, 0, 0, 0)),
        tried("bpf", calls, call(libc::SYS_bpf, 0, 0, 0)),
        tried("mount", calls, call(libc::SYS_mount, 0, 0, 0)),
        tried("signal another process", calls, call(libc::SYS_kill, 1, 0, 0)),
        tried("memory that is code", calls, code()),
    ]
}

fn process() -> Result<(), Error> {
    let mut child = std::process::Command::new("/bin/true").spawn()?;
    child.wait().map(drop)
}

fn code() -> Result<(), Error> {
    let access = libc::PROT_READ | libc::PROT_EXEC;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, which nobody uses and which ends with the process.
    match unsafe { libc::mmap(std::ptr::null_mut(), 4_096, access, kind, -1, 0) } {
        libc::MAP_FAILED => Err(Error::last_os_error()),
        _ => Ok(()),
    }
}
