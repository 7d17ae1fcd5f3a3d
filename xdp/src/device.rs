//! What there is to know about a network interface. Asked over ioctl and netlink in the calling
//! thread's network namespace; sysfs would answer for the namespace that it was mounted in.

use std::ffi::{CStr, CString};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};

use crate::abi;
use crate::error::{Error, Result};
use crate::sys;

/// Ethernet header, bytes.
pub(crate) const ETHERNET_BYTES: u32 = 14;
/// 802.1Q tag, bytes.
pub(crate) const VLAN_BYTES: u32 = 4;

/// Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Every station.
    pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);

    /// Address of an IPv4 multicast group: 01:00:5e and the low 23 bits (RFC 1112, 6.4). None when
    /// `group` is not multicast.
    pub fn of_group(group: Ipv4Addr) -> Option<MacAddress> {
        let [_, b, c, d] = group.octets();
        group.is_multicast().then_some(MacAddress([0x01, 0x00, 0x5e, b & 0x7f, c, d]))
    }

    /// Group or broadcast address: never a sender's.
    #[inline]
    pub fn is_multicast(&self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An IPv4 address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterfaceAddress {
    /// The address.
    pub ip: Ipv4Addr,
    /// Leading bits of the network, 0..=32.
    pub prefix: u8,
}

/// A network interface as it was when asked.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index in this network namespace.
    pub index: u32,
    /// Its Ethernet address; zero for the loopback interface.
    pub mac: MacAddress,
    /// Longest IP packet, bytes.
    pub mtu: u32,
    /// Whether it is up (administratively).
    pub up: bool,
    /// Its IPv4 addresses, the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
    /// Queues that receive; an XSK on queue q sees only what arrives on q.
    pub receive_queues: u32,
    /// Queues that transmit.
    pub transmit_queues: u32,
    /// Name of the driver; empty when it does not say.
    pub driver: String,
}

impl Interface {
    /// Asks for the interface of that name.
    pub fn named(name: &str) -> Result<Interface> {
        let missing = || Error::NoSuchInterface { interface: name.to_owned() };
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['\0', '/']) {
            return Err(missing());
        }
        let ask = Ask::new(name)?;
        let os = |operation| move |error| Error::os(operation, name, error);
        let index =
            ask.ioctl(libc::SIOCGIFINDEX as _).map_err(|error| match error.raw_os_error() {
                Some(libc::ENODEV) => missing(),
                _ => Error::os("asking for the index of", name, error),
            })?;
        let hardware =
            ask.ioctl(libc::SIOCGIFHWADDR as _).map_err(os("asking for the address of"))?;
        let mtu = ask.ioctl(libc::SIOCGIFMTU as _).map_err(os("asking for the MTU of"))?;
        let flags = ask.ioctl(libc::SIOCGIFFLAGS as _).map_err(os("asking for the flags of"))?;
        // SAFETY: each ioctl above filled the member of the union that belongs to it.
        let (index, hardware, mtu, flags) = unsafe {
            (
                index.ifr_ifru.ifru_ifindex,
                hardware.ifr_ifru.ifru_hwaddr.sa_data,
                mtu.ifr_ifru.ifru_mtu,
                flags.ifr_ifru.ifru_flags,
            )
        };
        let (receive_queues, transmit_queues) = ask.queues();
        Ok(Interface {
            name: name.to_owned(),
            index: index as u32,
            mac: MacAddress(std::array::from_fn(|i| hardware[i] as u8)),
            mtu: mtu as u32,
            up: i32::from(flags) & libc::IFF_UP != 0,
            addresses: addresses(name)?,
            receive_queues,
            transmit_queues,
            driver: ask.driver(),
        })
    }

    /// The interface that has address `ip`, in the calling thread's network namespace.
    pub fn with_address(ip: Ipv4Addr) -> Result<Interface> {
        let mut name = None;
        each_address(|owner, address| {
            if address.ip == ip {
                name.get_or_insert_with(|| owner.to_owned());
            }
        })?;
        match name {
            Some(name) => Interface::named(&name),
            None => Err(Error::NoSuchInterface { interface: ip.to_string() }),
        }
    }

    /// Queues that can both receive and transmit.
    pub fn queues(&self) -> u32 {
        self.receive_queues.min(self.transmit_queues)
    }

    /// Longest Ethernet frame that may be transmitted, bytes, without a VLAN tag.
    pub fn frame_max(&self) -> u32 {
        self.mtu + ETHERNET_BYTES
    }
}

/// A socket to ask through and the name to ask about.
struct Ask {
    socket: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
}

impl Ask {
    fn new(name: &str) -> Result<Ask> {
        let socket = sys::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
            .map_err(|error| Error::os("opening a socket to ask about", name, error))?;
        let mut bytes = [0; libc::IFNAMSIZ];
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        Ok(Ask { socket, name: bytes })
    }

    fn ioctl(&self, number: libc::c_ulong) -> std::io::Result<libc::ifreq> {
        self.ioctl_with(number, std::ptr::null_mut())
    }

    fn ioctl_with(
        &self,
        number: libc::c_ulong,
        data: *mut libc::c_char,
    ) -> std::io::Result<libc::ifreq> {
        // SAFETY: integers, arrays of integers and pointers: all zeros is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        request.ifr_name = self.name;
        request.ifr_ifru.ifru_data = data;
        sys::interface_ioctl(self.socket.as_fd(), number, &mut request)?;
        Ok(request)
    }

    /// (receive, transmit). A driver that has no channels to tell has one of each.
    fn queues(&self) -> (u32, u32) {
        let mut channels =
            abi::EthtoolChannels { cmd: abi::ETHTOOL_GCHANNELS, ..Default::default() };
        let data = std::ptr::from_mut(&mut channels).cast();
        match self.ioctl_with(abi::SIOCETHTOOL, data) {
            Ok(_) => (
                channels.rx_count.saturating_add(channels.combined_count).max(1),
                channels.tx_count.saturating_add(channels.combined_count).max(1),
            ),
            Err(_) => (1, 1),
        }
    }

    fn driver(&self) -> String {
        let mut info =
            abi::EthtoolDrvinfo { cmd: abi::ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
        let data = std::ptr::from_mut(&mut info).cast();
        match self.ioctl_with(abi::SIOCETHTOOL, data) {
            Ok(_) => CStr::from_bytes_until_nul(&info.driver)
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            Err(_) => String::new(),
        }
    }
}

fn addresses(name: &str) -> Result<Vec<InterfaceAddress>> {
    let mut found = Vec::new();
    each_address(|owner, address| {
        if owner == name {
            found.push(address);
        }
    })?;
    Ok(found)
}

/// Calls `on_address(interface, address)` for every IPv4 address of the namespace.
fn each_address(mut on_address: impl FnMut(&str, InterfaceAddress)) -> Result<()> {
    let mut list = std::ptr::null_mut();
    // SAFETY: fills `list`, which is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::os("listing", "addresses", error));
    }
    let mut next = list;
    while !next.is_null() {
        // SAFETY: an element of the list, which is not freed yet.
        let entry = unsafe { &*next };
        next = entry.ifa_next;
        let (Some(ip), Some(mask)) = (ipv4(entry.ifa_addr), ipv4(entry.ifa_netmask)) else {
            continue;
        };
        // SAFETY: the list's names end with 0.
        let name = CString::from(unsafe { CStr::from_ptr(entry.ifa_name) });
        // An address may have a label of its own: `eth0:1` is on eth0.
        let name = name.to_string_lossy();
        let name = name.split(':').next().unwrap_or_default();
        on_address(name, InterfaceAddress { ip, prefix: u32::from(mask).count_ones() as u8 });
    }
    // SAFETY: what getifaddrs gave, once; no reference into it is left.
    unsafe { libc::freeifaddrs(list) };
    Ok(())
}

/// The IPv4 address in a socket address.
fn ipv4(address: *const libc::sockaddr) -> Option<Ipv4Addr> {
    // SAFETY: null, or a socket address of the family that it names.
    unsafe {
        if address.is_null() || libc::c_int::from((*address).sa_family) != libc::AF_INET {
            return None;
        }
        let inet = address.cast::<libc::sockaddr_in>().read_unaligned();
        Some(Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_the_address_that_rfc_1112_gives_them() {
        let mac = |group: [u8; 4]| MacAddress::of_group(group.into()).map(|mac| mac.to_string());
        assert_eq!(mac([239, 10, 0, 1]).as_deref(), Some("01:00:5e:0a:00:01"));
        assert_eq!(mac([224, 128, 1, 2]).as_deref(), Some("01:00:5e:00:01:02"));
        assert_eq!(mac([239, 255, 255, 255]).as_deref(), Some("01:00:5e:7f:ff:ff"));
        assert_eq!(mac([10, 0, 0, 1]), None);
        assert_eq!(mac([240, 0, 0, 1]), None);
    }

    #[test]
    fn loopback_is_found_by_name_and_by_address() {
        let lo = Interface::named("lo").unwrap();
        assert_eq!((lo.name.as_str(), lo.mac), ("lo", MacAddress::default()));
        assert!(lo.index > 0 && lo.queues() > 0 && lo.mtu >= 1500);
        assert_eq!(Interface::with_address(Ipv4Addr::LOCALHOST).unwrap().index, lo.index);
    }

    #[test]
    fn names_that_cannot_be_are_not_asked_for() {
        for name in ["", "a/b", "nul\0", "absent0", "longer-than-sixteen-bytes"] {
            let error = Interface::named(name).unwrap_err();
            assert!(matches!(error, Error::NoSuchInterface { .. }), "{name}: {error}");
        }
        let nobody = Interface::with_address(Ipv4Addr::new(192, 0, 2, 77));
        assert!(matches!(nobody, Err(Error::NoSuchInterface { .. })));
    }
}
