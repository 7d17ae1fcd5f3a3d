//! What a card can do with XDP: generic netlink, family `netdev`. Source: linux/netdev.h,
//! linux/genetlink.h, linux/netlink.h.

use super::surface::Unread;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// NETDEV_XDP_ACT_* bits.
pub(super) const BASIC: u64 = 1;
pub(super) const REDIRECT: u64 = 2;
pub(super) const XSK_ZEROCOPY: u64 = 8;

pub(super) struct Xdp {
    pub(super) features: u64,
    /// Fragments of a zero-copy packet at most; 0 where the kernel does not say.
    pub(super) zero_copy_segments: u32,
}

const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_A_DEV_XDP_ZC_MAX_SEGS: u16 = 4;

pub(super) fn xdp(interface: &str) -> Result<Xdp, Unread> {
    let name = std::ffi::CString::new(interface)
        .map_err(|_| Unread::Absent("an interface has no such name".into()))?;
    // SAFETY: a text that ends with a zero and lives through the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(Unread::Absent("there is no such interface".into()));
    }
    let socket = open().map_err(Unread::Refused)?;
    let family = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"netdev\0")
        .map_err(|_| {
            Unread::Absent("this kernel does not tell XDP features (from 6.3 on)".into())
        })?;
    let family = attribute(&family, CTRL_ATTR_FAMILY_ID)
        .and_then(|bytes| Some(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?)))
        .ok_or_else(|| Unread::Absent("this kernel does not tell XDP features".into()))?;
    let answer =
        ask(&socket, family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &index.to_ne_bytes())
            .map_err(Unread::Refused)?;
    let features = attribute(&answer, NETDEV_A_DEV_XDP_FEATURES)
        .and_then(|bytes| Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?)))
        .ok_or_else(|| Unread::Absent("the kernel's answer has no XDP features".into()))?;
    let zero_copy_segments = attribute(&answer, NETDEV_A_DEV_XDP_ZC_MAX_SEGS)
        .and_then(|bytes| Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)))
        .unwrap_or(0);
    Ok(Xdp { features, zero_copy_segments })
}

fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the result is checked.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_GENERIC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One request with one attribute; the answer's attributes.
fn ask(socket: &OwnedFd, family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    const HEADERS: usize = 16 + 4; // nlmsghdr, genlmsghdr
    let mut bytes = vec![0u8; HEADERS];
    bytes.extend((value.len() as u16 + 4).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = bytes.len() as u32;
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&family.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    bytes[16] = command;
    bytes[17] = 1; // version
    // SAFETY: the bytes live through the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = vec![0u8; 16 << 10];
    // SAFETY: the kernel writes at most as many bytes as the buffer has, which lives through the call.
    let got =
        unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    answer.truncate(got as usize);
    let kind = answer.get(4..6).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    if kind == Some(libc::NLMSG_ERROR as u16) {
        let code = answer.get(16..20).map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(answer.split_off(HEADERS.min(answer.len())))
}

/// Value of an attribute in a row of them.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = u16::from_ne_bytes([bytes[0], bytes[1]]) as usize;
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & 0x3fff;
        if length < 4 || length > bytes.len() {
            return None;
        }
        if kind == wanted {
            return Some(&bytes[4..length]);
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    None
}
