//! What the XDP program must say of a frame, in plain words: a second reading of what the crate's
//! documentation promises, with nothing taken from the program or the parser. And what the wire itself
//! refuses. Knows no sessions.

use af_xdp::Verdict;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Addresses whose datagrams are taken, and the VLAN whose tag is looked behind.
pub struct Model {
    pub destinations: Vec<SocketAddrV4>,
    pub vlan: Option<u16>,
}

impl Model {
    /// The program's answer to `frame`.
    pub fn verdict(&self, frame: &[u8]) -> Verdict {
        match self.destination(frame) {
            Some(to) if self.destinations.contains(&to) => Verdict::Redirect,
            _ => Verdict::Pass,
        }
    }

    /// Where the frame goes, if it is a whole UDP datagram over IPv4 without options, with at most
    /// the tag that is expected.
    fn destination(&self, frame: &[u8]) -> Option<SocketAddrV4> {
        let word = |at: usize| Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?));
        let tagged = self.vlan.is_some() && word(12)? == 0x8100;
        if tagged && Some(word(14)? % 4096) != self.vlan {
            return None;
        }
        let ip = if tagged { 18 } else { 14 };
        let headers = frame.get(ip..ip + 28)?; // IPv4 without options, and UDP
        let fragment = word(ip + 6)?;
        let (more, offset) = (fragment & 0x2000 != 0, fragment & 0x1fff);
        let whole = !more && offset == 0;
        let plain = word(ip - 2)? == 0x0800 && headers[0] == 0x45 && headers[9] == 17;
        let to = Ipv4Addr::new(headers[16], headers[17], headers[18], headers[19]);
        (plain && whole).then_some(SocketAddrV4::new(to, word(ip + 22)?))
    }
}

/// Longest frame that an interface of this MTU takes from its veth peer: header and one tag come on
/// top (`is_skb_forwardable`, net/core/dev.c).
pub fn frame_max(mtu: usize) -> usize {
    mtu + 14 + 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_documentation_says() {
        let to: SocketAddrV4 = "10.0.0.2:7000".parse().unwrap();
        let mut frame = vec![0; 60];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[23] = 17;
        frame[30..34].copy_from_slice(&to.ip().octets());
        frame[36..38].copy_from_slice(&to.port().to_be_bytes());
        let plain = Model { destinations: vec![to], vlan: None };
        let tagged = Model { destinations: vec![to], vlan: Some(5) };
        assert_eq!(plain.verdict(&frame), Verdict::Redirect);
        assert_eq!(plain.verdict(&frame[..41]), Verdict::Pass);
        let mut in_tag = frame.clone();
        in_tag.splice(12..12, [0x81, 0, 0xe0, 5]);
        assert_eq!(plain.verdict(&in_tag), Verdict::Pass);
        assert_eq!(tagged.verdict(&in_tag), Verdict::Redirect);
        assert_eq!(tagged.verdict(&frame), Verdict::Redirect);
        in_tag[15] = 6;
        assert_eq!(tagged.verdict(&in_tag), Verdict::Pass);
        for (at, value) in [(12, 9), (14, 0x46), (20, 0x20), (21, 1), (23, 6), (33, 9), (37, 0)] {
            let mut other = frame.clone();
            other[at] = value;
            assert_eq!(plain.verdict(&other), Verdict::Pass, "byte {at}");
        }
    }
}
