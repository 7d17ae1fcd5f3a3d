//! The host's values by name: files of /proc and /sys, and what a network card is asked by ioctl.
//!
//! A [`Surface`] reads and writes them as text. [`Live`] is this host, or a directory that stands for
//! one: then files lie under it, and a card's values in `<root>/ethtool/<interface>/<item>`.

use super::ethtool;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// What a network card is asked. Source: linux/ethtool.h, the command named at each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NicItem {
    /// Name of the driver (GDRVINFO).
    Driver,
    /// Receive queues in use, paired with a transmit queue or not (GCHANNELS).
    Channels,
    /// Receive queues at most.
    ChannelsMax,
    /// Receive ring, descriptors (GRINGPARAM).
    RingRx,
    /// Transmit ring, descriptors.
    RingTx,
    /// Receive ring at most.
    RingRxMax,
    /// Transmit ring at most.
    RingTxMax,
    /// 1 = the receive delay adapts (GCOALESCE).
    AdaptiveRx,
    /// 1 = the transmit delay adapts.
    AdaptiveTx,
    /// Receive interrupt delay, us.
    RxUsecs,
    /// Transmit interrupt delay, us.
    TxUsecs,
    /// 1 = generic receive offload (GFEATURES `rx-gro`).
    Gro,
    /// 1 = large receive offload (`rx-lro`).
    Lro,
    /// 1 = datagrams are merged on the way (`rx-udp-gro-forwarding`).
    UdpGroForwarding,
    /// 1 = the card checks received checksums (`rx-checksum`).
    RxChecksum,
    /// 1 = it sends pause frames when its ring is full (GPAUSEPARAM, rx_pause and tx_pause).
    PauseRx,
    /// 1 = it obeys pause frames.
    PauseTx,
    /// 1 = pause is negotiated with the switch, which then decides.
    PauseAuto,
    /// 1 = energy-efficient Ethernet (GEEE).
    Eee,
    /// Numbers of UDP destination port and queue of each steering rule, `9001:0 9002:0` (GRXCLSRLALL).
    SteeringRules,
    /// 1 = it stamps received packets (GTSINFO, SOF_TIMESTAMPING_RX_HARDWARE).
    HardwareTimestamps,
    /// Number of its PTP clock, -1 = none (GTSINFO).
    PtpClock,
    /// XDP features, hexadecimal (generic netlink, family netdev, linux/netdev.h).
    XdpFeatures,
    /// Fragments of a zero-copy packet at most, 0 = no zero copy.
    XdpZeroCopySegments,
}

impl NicItem {
    /// Name in records, messages and fixtures.
    pub fn text(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(text)) => text,
            _ => format!("{self:?}"), // a unit variant is always a text
        }
    }
}

/// Name of a value of the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// A file, absolute: `/proc/sys/vm/stat_interval`.
    File(PathBuf),
    /// A network card's value.
    Nic(String, NicItem),
}

impl Key {
    /// A file.
    pub fn file(path: impl Into<PathBuf>) -> Key {
        Key::File(path.into())
    }

    /// Whether it is one that configure may ever write: below /proc/sys, /proc/irq or /sys, without
    /// a way out of there; or a card's.
    pub fn is_setting(&self) -> bool {
        let Key::File(path) = self else { return true };
        let up = path.components().any(|part| part == std::path::Component::ParentDir);
        !up && ["/proc/sys", "/proc/irq", "/sys"].iter().any(|dir| path.starts_with(dir))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::File(path) => write!(f, "{}", path.display()),
            Key::Nic(interface, item) => write!(f, "{} of {interface}", item.text()),
        }
    }
}

/// Why a value cannot be read or written.
#[derive(Debug)]
pub enum Unread {
    /// There is no such thing here: a kernel without it, a card without it.
    Absent(String),
    /// It is there and the kernel refuses.
    Refused(io::Error),
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unread::Absent(why) => f.write_str(why),
            Unread::Refused(error) => write!(f, "the kernel refuses: {error}"),
        }
    }
}

/// A host's values by name.
pub trait Surface {
    /// Present value, without white space around it.
    fn read(&self, key: &Key) -> Result<String, Unread>;
    /// Sets it.
    fn write(&self, key: &Key, value: &str) -> Result<(), Unread>;
    /// Names in a directory, ascending; empty when there is none.
    fn names(&self, dir: &Path) -> Vec<String>;

    /// A file's text.
    fn text(&self, path: &str) -> Result<String, Unread> {
        self.read(&Key::file(path))
    }

    /// Whether there is such a file or directory.
    fn exists(&self, path: &str) -> bool;

    /// Whether there is such a directory.
    fn is_dir(&self, path: &str) -> bool;
}

/// This host, or a directory that stands for one.
#[derive(Clone, Debug)]
pub struct Live {
    root: PathBuf,
}

impl Live {
    /// This host.
    pub fn host() -> Live {
        Live { root: "/".into() }
    }

    /// The tree under `root`.
    pub fn under(root: impl Into<PathBuf>) -> Live {
        Live { root: root.into() }
    }

    /// Whether it is this host: then machine facts are its own, too.
    pub fn is_host(&self) -> bool {
        self.root == Path::new("/")
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where a key lies as a file; `None` = the card is asked.
    fn place(&self, key: &Key) -> Option<PathBuf> {
        match key {
            Key::File(path) => Some(self.at(path)),
            Key::Nic(..) if self.is_host() => None,
            Key::Nic(interface, item) => {
                Some(self.root.join("ethtool").join(interface).join(item.text()))
            }
        }
    }
}

impl Surface for Live {
    fn read(&self, key: &Key) -> Result<String, Unread> {
        match (self.place(key), key) {
            (Some(path), _) => match std::fs::read(&path) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).trim().to_string()),
                Err(error) => Err(unread(key, error)),
            },
            (None, Key::Nic(interface, item)) => ethtool::read(interface, *item),
            (None, Key::File(_)) => unreachable!("a file always has a place"),
        }
    }

    fn write(&self, key: &Key, value: &str) -> Result<(), Unread> {
        match (self.place(key), key) {
            (Some(path), _) => {
                use io::Write;
                // Not created: a setting that is not there is not ours to make. One write call: the
                // kernel takes a value whole.
                let file = std::fs::OpenOptions::new().write(true).truncate(true).open(&path);
                file.and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()))
                    .map_err(|error| unread(key, error))
            }
            (None, Key::Nic(interface, item)) => ethtool::write(interface, *item, value),
            (None, Key::File(_)) => unreachable!("a file always has a place"),
        }
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.at(dir)) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        names.sort();
        names
    }

    fn exists(&self, path: &str) -> bool {
        self.at(Path::new(path)).exists()
    }

    fn is_dir(&self, path: &str) -> bool {
        self.at(Path::new(path)).is_dir()
    }
}

fn unread(key: &Key, error: io::Error) -> Unread {
    // ENODEV: the device went away while its file was open.
    let absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ENODEV);
    if absent { Unread::Absent(format!("{key} is not here")) } else { Unread::Refused(error) }
}

/// The chosen word of `always [madvise] never`, or the text itself.
pub fn chosen(text: &str) -> &str {
    match (text.find('['), text.find(']')) {
        (Some(open), Some(close)) if open < close => &text[open + 1..close],
        _ => text.trim(),
    }
}
