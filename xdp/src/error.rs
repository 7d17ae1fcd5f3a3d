//! What the host refuses when something is opened, each with the sentence that mends it.
//!
//! Nothing here happens while frames flow: the hot calls of [`crate::Rx`] and [`crate::Tx`] count
//! instead (see [`crate::RxCounters`] and [`crate::TxCounters`]).

use std::fmt;

use crate::Refusal;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be opened. `Display` says what, where, and the command that mends it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No interface of that name in the calling thread's network namespace.
    NoSuchInterface {
        /// Name that was asked for.
        interface: String,
    },
    /// The interface is down.
    InterfaceDown {
        /// Its name.
        interface: String,
    },
    /// The interface has no such queue.
    WrongQueue {
        /// Name of the interface.
        interface: String,
        /// Queue that was asked for; the first is 0.
        queue: u32,
        /// Queues that can receive and transmit.
        count: u32,
    },
    /// Another AF_XDP socket holds the queue (and kept it through ten seconds of retries).
    QueueBusy {
        /// Name of the interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// Another XDP program is attached to the interface (and stayed through ten seconds of retries).
    ProgramBusy {
        /// Name of the interface.
        interface: String,
    },
    /// The UMEM may not be locked in memory.
    Memlock {
        /// Size of the UMEM, bytes.
        bytes: u64,
        /// `RLIMIT_MEMLOCK`, bytes; None: unlimited, so memory itself was short.
        limit: Option<u64>,
    },
    /// The process lacks a capability.
    MissingCapability {
        /// For example `CAP_NET_RAW`.
        capability: &'static str,
        /// What needed it.
        operation: &'static str,
    },
    /// Huge pages were demanded and are not free.
    HugePages {
        /// Size of the UMEM, bytes, rounded up to pages of 2 MiB.
        bytes: u64,
    },
    /// The driver has no XDP hook of its own, or not with this configuration.
    NativeUnsupported {
        /// Name of the interface.
        interface: String,
        /// Name of the driver, empty when it does not say.
        driver: String,
    },
    /// The driver cannot receive into our memory without a copy. Some can with a frame size of 4096
    /// ([`crate::Config::frame_size`]).
    ZeroCopyUnsupported {
        /// Name of the interface.
        interface: String,
        /// The queue.
        queue: u32,
    },
    /// Frames of the interface do not fit: into a chunk ([`crate::Config::frame_size`]), or into what its
    /// driver takes under XDP.
    MtuTooLarge {
        /// Name of the interface.
        interface: String,
        /// Its MTU, bytes.
        mtu: u32,
        /// Largest MTU that fits, bytes; None: only the driver knows.
        max: Option<u32>,
    },
    /// The kernel's verifier refused the program: a fault of this crate or a very old kernel.
    Verifier {
        /// What the verifier said.
        log: String,
    },
    /// A configured value is out of range.
    Config {
        /// Name of the field.
        field: &'static str,
        /// What is allowed.
        problem: String,
    },
    /// The UMEM has fewer free frames than the socket should get.
    UmemExhausted {
        /// Frames that the socket asked for.
        asked: u32,
        /// Frames that are free.
        free: u32,
    },
    /// Every allowed mode was refused; the caller's last rung is an ordinary UDP socket.
    NoMode {
        /// Which mode, and why not.
        refused: Vec<Refusal>,
    },
    /// A probe frame was not transmitted in time.
    ProbeFailed {
        /// Name of the interface.
        interface: String,
        /// The queue.
        queue: u32,
        /// How long was waited, milliseconds.
        waited_ms: u32,
    },
    /// Any other refusal of the kernel.
    Os {
        /// What was tried.
        operation: &'static str,
        /// On what.
        object: String,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn os(
        operation: &'static str,
        object: impl Into<String>,
        source: std::io::Error,
    ) -> Error {
        Error::Os { operation, object: object.into(), source }
    }

    pub(crate) fn config(field: &'static str, problem: impl Into<String>) -> Error {
        Error::Config { field, problem: problem.into() }
    }

    /// Whether a lower rung of the mode ladder may do without what was refused.
    pub(crate) fn another_mode_may_help(&self) -> bool {
        matches!(
            self,
            Error::NativeUnsupported { .. }
                | Error::ZeroCopyUnsupported { .. }
                | Error::MtuTooLarge { max: None, .. }
                | Error::ProgramBusy { .. }
                | Error::ProbeFailed { .. }
                | Error::Os { .. }
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoSuchInterface { interface } => write!(
                f,
                "no interface {interface:?} in this thread's network namespace; `ip link` lists them"
            ),
            Error::InterfaceDown { interface } => {
                write!(f, "interface {interface} is down: ip link set {interface} up")
            }
            Error::WrongQueue { interface, queue, count } => write!(
                f,
                "interface {interface} has no queue {queue}: it has {count}, counted from 0; \
                 `ethtool -L {interface} combined N` changes that"
            ),
            Error::QueueBusy { interface, queue } => write!(
                f,
                "queue {queue} of {interface} belongs to another AF_XDP socket; stop the process that \
                 has it (`ip link show {interface}` names its program, `bpftool net` more)"
            ),
            Error::ProgramBusy { interface } => write!(
                f,
                "another XDP program is attached to {interface}; stop its owner, or \
                 `ip link set {interface} xdp off`"
            ),
            Error::Memlock { bytes, limit: Some(limit) } => write!(
                f,
                "packet memory of {bytes} bytes may not be locked, the limit is {limit}: give the process \
                 CAP_IPC_LOCK, or LimitMEMLOCK=infinity (`ulimit -l unlimited`)"
            ),
            Error::Memlock { bytes, limit: None } => {
                write!(
                    f,
                    "packet memory of {bytes} bytes may not be locked: memory is short (`free -m`)"
                )
            }
            Error::MissingCapability { capability, operation } => write!(
                f,
                "{operation} needs {capability}: run as root, or `AmbientCapabilities=CAP_NET_RAW \
                 CAP_NET_ADMIN CAP_BPF CAP_IPC_LOCK` in the unit file"
            ),
            Error::HugePages { bytes } => {
                let pages = bytes.div_ceil(crate::umem::HUGE_PAGE_BYTES as u64);
                write!(
                    f,
                    "{pages} huge pages of 2 MiB are not free: \
                     sysctl -w vm.nr_hugepages={pages} (more when others use some)"
                )
            }
            Error::NativeUnsupported { interface, driver } => write!(
                f,
                "driver {driver:?} of {interface} does not take an XDP program as it is configured \
                 (no support, too many queues, LRO, MTU): `ethtool -L {interface} combined 1`, \
                 `ethtool -K {interface} lro off`, or allow the generic hook"
            ),
            Error::ZeroCopyUnsupported { interface, queue } => write!(
                f,
                "queue {queue} of {interface} has no zero-copy: it takes a driver that has it \
                 (`ethtool -i {interface}` names this one), or allow copies"
            ),
            Error::MtuTooLarge { interface, mtu, max: Some(max) } => write!(
                f,
                "MTU {mtu} of {interface} does not fit into a frame: ip link set {interface} mtu {max}"
            ),
            Error::MtuTooLarge { interface, mtu, max: None } => write!(
                f,
                "MTU {mtu} of {interface} (or of its peer) is more than its driver takes under XDP: \
                 ip link set {interface} mtu 1500"
            ),
            Error::Verifier { log } => {
                write!(f, "the kernel refused the XDP program (Linux 5.11 or newer?): {log}")
            }
            Error::Config { field, problem } => write!(f, "{field}: {problem}"),
            Error::UmemExhausted { asked, free } => {
                write!(
                    f,
                    "the UMEM has {free} free frames and the socket asks for {asked}: make it larger"
                )
            }
            Error::NoMode { refused } => {
                write!(f, "no allowed mode works:")?;
                for refusal in refused {
                    write!(f, " [{}] {}.", refusal.mode, refusal.reason)?;
                }
                Ok(())
            }
            Error::ProbeFailed { interface, queue, waited_ms } => write!(
                f,
                "queue {queue} of {interface} did not transmit a probe within {waited_ms} ms; a link \
                 that was just reset needs longer (`ethtool {interface}`), a driver that never does \
                 needs another mode"
            ),
            Error::Os { operation, object, source } => write!(f, "{operation} {object}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mode;

    #[test]
    fn each_error_says_what_where_and_what_mends_it() {
        let interface = || "eth7".to_owned();
        let cases: Vec<(Error, &[&str])> = vec![
            (Error::NoSuchInterface { interface: interface() }, &["eth7", "namespace", "ip link"]),
            (Error::InterfaceDown { interface: interface() }, &["ip link set eth7 up"]),
            (
                Error::WrongQueue { interface: interface(), queue: 4, count: 2 },
                &["queue 4", "it has 2", "ethtool -L eth7"],
            ),
            (Error::QueueBusy { interface: interface(), queue: 4 }, &["queue 4", "eth7"]),
            (Error::ProgramBusy { interface: interface() }, &["ip link set eth7 xdp off"]),
            (
                Error::Memlock { bytes: 9000, limit: Some(8000) },
                &["9000", "8000", "CAP_IPC_LOCK", "LimitMEMLOCK=infinity"],
            ),
            (Error::Memlock { bytes: 9000, limit: None }, &["9000", "memory is short"]),
            (
                Error::MissingCapability { capability: "CAP_BPF", operation: "this" },
                &["this needs CAP_BPF", "AmbientCapabilities="],
            ),
            (Error::HugePages { bytes: 5 << 20 }, &["3 huge pages", "vm.nr_hugepages=3"]),
            (
                Error::NativeUnsupported { interface: interface(), driver: "nic".into() },
                &["\"nic\"", "eth7", "allow the generic hook"],
            ),
            (
                Error::ZeroCopyUnsupported { interface: interface(), queue: 4 },
                &["queue 4", "ethtool -i eth7", "allow copies"],
            ),
            (
                Error::MtuTooLarge { interface: interface(), mtu: 9000, max: Some(1774) },
                &["9000", "ip link set eth7 mtu 1774"],
            ),
            (
                Error::MtuTooLarge { interface: interface(), mtu: 9000, max: None },
                &["9000", "ip link set eth7 mtu 1500"],
            ),
            (Error::Verifier { log: "R2 invalid".into() }, &["R2 invalid", "Linux 5.11"]),
            (Error::config("vlan", "9 is odd"), &["vlan: 9 is odd"]),
            (Error::UmemExhausted { asked: 8, free: 2 }, &["2 free", "asks for 8"]),
            (
                Error::ProbeFailed { interface: interface(), queue: 4, waited_ms: 20 },
                &["queue 4 of eth7", "20 ms"],
            ),
            (
                Error::NoMode {
                    refused: vec![Refusal {
                        mode: Mode::NativeCopy,
                        reason: Error::ProgramBusy { interface: interface() },
                    }],
                },
                &["[native-copy] another XDP program is attached to eth7"],
            ),
            (
                Error::os("binding", "queue 4 of eth7", std::io::Error::from_raw_os_error(5)),
                &["binding queue 4 of eth7: Input/output error"],
            ),
        ];
        for (error, words) in cases {
            let text = error.to_string();
            for word in words {
                assert!(text.contains(word), "{word:?} is missing: {text}");
            }
            assert!(!text.contains("  "), "a line break that was not joined: {text}");
        }
    }
}
