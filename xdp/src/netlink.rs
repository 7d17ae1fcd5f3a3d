//! Questions to the kernel's tables over `NETLINK_ROUTE`: one request, one answer. Cold path.
//!
//! Sources: rtnetlink(7), `linux/netlink.h`, `linux/rtnetlink.h`, `linux/neighbour.h`.

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::sys;

const HEADER_BYTES: usize = 16;
/// Longest answer to one question: some hundred bytes; a page is plenty.
const ANSWER_BYTES_MAX: usize = 8192;

/// A netlink socket of the network namespace that the calling thread had when it opened it.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// A request in the making: header, fixed part, attributes.
pub(crate) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// `kind` is an `RTM_*` number, `flags` adds to `NLM_F_REQUEST`, `fixed` the struct that
    /// belongs to the kind.
    pub(crate) fn new(kind: u16, flags: libc::c_int, fixed: &[u8]) -> Request {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Request { bytes }
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Request {
        let length = 4 + value.len() as u16;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }
}

/// What came back: kind and what follows the header.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) kind: u16,
    pub(crate) body: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open() -> Result<Netlink> {
        let socket = sys::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
        // The kernel answers within the call that asks; a second is for the case that it does not.
        let patience = libc::timeval { tv_sec: 1, tv_usec: 0 };
        sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, &patience)?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Sends the request and returns the answer to it; `Ok(None)` for an acknowledgement. An error
    /// that the kernel answers becomes `Err`.
    pub(crate) fn ask(&mut self, request: Request) -> Result<Option<Answer>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = request.bytes;
        let length = bytes.len() as u32;
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let fd = self.socket.as_raw_fd();
        // SAFETY: the kernel reads the request, which lives through the call.
        let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(Error::last_os_error());
        }
        let mut buffer = vec![0; ANSWER_BYTES_MAX];
        loop {
            // SAFETY: the kernel writes within the buffer.
            let received = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let Ok(received) = usize::try_from(received) else {
                let error = Error::last_os_error();
                match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    _ => return Err(error),
                }
            };
            // Answers to questions that were given up on have other numbers.
            if let Some(answer) = find(&buffer[..received], self.sequence) {
                return answer;
            }
        }
    }
}

/// The message with that number among those of one datagram.
fn find(mut bytes: &[u8], sequence: u32) -> Option<Result<Option<Answer>>> {
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let number = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let body = bytes.get(HEADER_BYTES..length)?;
        if number == sequence {
            if i32::from(kind) != libc::NLMSG_ERROR {
                return Some(Ok(Some(Answer { kind, body: body.to_vec() })));
            }
            let code = i32::from_ne_bytes(*body.first_chunk::<4>()?);
            return Some(match code {
                0 => Ok(None),
                code => Err(Error::from_raw_os_error(code.wrapping_neg())),
            });
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// The attribute of that kind in the bytes behind a fixed part.
pub(crate) fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    while let Some(header) = bytes.first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_and_cut_ones_are_not() {
        let request = Request::new(1, 0, &[]).attribute(7, &[1, 2, 3]).attribute(9, &[4, 5, 6, 7]);
        let bytes = &request.bytes[HEADER_BYTES..];
        assert_eq!(bytes.len(), 16);
        assert_eq!(attribute(bytes, 7), Some(&[1, 2, 3][..]));
        assert_eq!(attribute(bytes, 9), Some(&[4, 5, 6, 7][..]));
        assert_eq!(attribute(bytes, 8), None);
        for cut in 0..bytes.len() {
            assert_eq!(attribute(&bytes[..cut], 9), None, "{cut}");
        }
        // A length of 0 must not go round for ever.
        assert_eq!(attribute(&[0; 32], 9), None);
    }

    #[test]
    fn answers_are_matched_by_number() {
        let message = |sequence: u32, kind: u16, body: &[u8]| {
            let mut bytes = Request::new(kind, 0, body).bytes;
            let length = bytes.len() as u32;
            bytes[0..4].copy_from_slice(&length.to_ne_bytes());
            bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
            bytes
        };
        let error = (-libc::ENOENT).to_ne_bytes();
        let both = [message(4, 24, &[1, 2, 3, 4]), message(5, 2, &error)].concat();
        assert_eq!(find(&both, 4).unwrap().unwrap().unwrap().body, [1, 2, 3, 4]);
        let refused = find(&both, 5).unwrap().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOENT));
        assert!(find(&both, 6).is_none());
        assert!(find(&message(5, 2, &[0; 4]), 5).unwrap().unwrap().is_none());
        for cut in 0..both.len() {
            let _no_panic = find(&both[..cut], 5);
        }
        assert!(find(&[0; 64], 1).is_none());
    }
}
