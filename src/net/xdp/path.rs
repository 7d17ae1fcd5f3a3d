//! Names of the ways that datagrams can take, as configuration wishes and as a start tells.

use af_xdp::Mode;
use std::fmt;
use std::str::FromStr;

/// The way that datagrams take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    /// AF_XDP at the driver's hook; the NIC writes into our memory.
    NativeZeroCopy,
    /// AF_XDP at the driver's hook; the kernel copies.
    NativeCopy,
    /// AF_XDP at the kernel's generic hook.
    Generic,
    /// Ordinary sockets.
    Udp,
}

impl Path {
    pub(super) fn of(mode: Mode) -> Path {
        match mode {
            Mode::NativeZeroCopy => Path::NativeZeroCopy,
            Mode::NativeCopy => Path::NativeCopy,
            Mode::Generic => Path::Generic,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Path::NativeZeroCopy => "af_xdp:native:zero-copy",
            Path::NativeCopy => "af_xdp:native:copy",
            Path::Generic => "af_xdp:generic",
            Path::Udp => "udp",
        })
    }
}

/// Which ways are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PathWish {
    /// The best that works, sockets at last: which one is told, and why no better.
    Auto,
    /// Ordinary sockets.
    #[default]
    Udp,
    /// The best rung of AF_XDP that works, or no start.
    AfXdp,
    /// The driver's hook, with or without copy, or no start.
    Native,
    /// The driver's hook without copy, or no start.
    NativeZeroCopy,
    /// The driver's hook with copy, or no start.
    NativeCopy,
    /// The generic hook, or no start.
    Generic,
}

impl PathWish {
    /// All of them with their names.
    pub const ALL: [(&str, PathWish); 7] = [
        ("auto", PathWish::Auto),
        ("udp", PathWish::Udp),
        ("af_xdp", PathWish::AfXdp),
        ("af_xdp:native", PathWish::Native),
        ("af_xdp:native:zero-copy", PathWish::NativeZeroCopy),
        ("af_xdp:native:copy", PathWish::NativeCopy),
        ("af_xdp:generic", PathWish::Generic),
    ];

    /// Its name.
    pub fn text(self) -> &'static str {
        Self::ALL.iter().find(|(_, wish)| *wish == self).map_or("udp", |(text, _)| text)
    }

    /// Rungs of AF_XDP to try, in this order; none for sockets.
    pub fn modes(self) -> Vec<Mode> {
        match self {
            PathWish::Auto | PathWish::AfXdp => Mode::LADDER.to_vec(),
            PathWish::Udp => Vec::new(),
            PathWish::Native => vec![Mode::NativeZeroCopy, Mode::NativeCopy],
            PathWish::NativeZeroCopy => vec![Mode::NativeZeroCopy],
            PathWish::NativeCopy => vec![Mode::NativeCopy],
            PathWish::Generic => vec![Mode::Generic],
        }
    }

    /// Whether ordinary sockets will do.
    pub fn allows_udp(self) -> bool {
        matches!(self, PathWish::Auto | PathWish::Udp)
    }
}

impl FromStr for PathWish {
    type Err = String;

    fn from_str(text: &str) -> Result<PathWish, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, wish)| *wish).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            format!("{text:?} is not one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for PathWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
