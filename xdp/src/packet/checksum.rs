//! The Internet checksum: one's complement sum of 16-bit words. Source: RFC 1071.

/// Adds the words of `bytes` to a running sum; an odd last byte counts as the high half of a word.
/// A sum holds 65535 bytes without overflow.
#[inline]
pub(super) fn sum(bytes: &[u8], start: u32) -> u32 {
    let words = bytes.chunks_exact(2);
    let odd = words.remainder().first().map_or(0, |&byte| u32::from(byte) << 8);
    words.fold(start.wrapping_add(odd), |sum, word| {
        sum.wrapping_add(u32::from(u16::from_be_bytes([word[0], word[1]])))
    })
}

/// The running sum as 16 bits.
#[inline]
pub(super) fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16 // below 2^16 after the second time
}

/// Sum of the pseudo header of UDP: source and destination address, protocol, UDP length.
#[inline]
pub(super) fn pseudo_header(addresses: &[u8], udp_bytes: u16) -> u32 {
    sum(addresses, 17 + u32::from(udp_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_rfc_1071() {
        // The example of section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes, 0)), 0xddf2);
        assert_eq!(fold(sum(&bytes[..7], 0)), fold(sum(&bytes, 0) - 0xf7));
        assert_eq!(fold(sum(&[], 0)), 0);
        assert_eq!(fold(sum(&vec![0xff; 65534], 0xffff)), 0xffff);
    }
}
