//! To which Ethernet address an unsolicited datagram goes. (An answer needs none of this: swap the
//! addresses of what it answers.)
//!
//! The kernel keeps routes and neighbours, and does ARP, because the program leaves ARP to it. This
//! asks it, has it solicit a neighbour that it does not know, and remembers the answers. Cold path;
//! only [`Neighbours::cached`] is for the hot one.

use std::net::{Ipv4Addr, UdpSocket};

use crate::device::{Interface, MacAddress};
use crate::error::{Error, Result};
use crate::netlink::{Netlink, Request, attribute};

/// `linux/rtnetlink.h`
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
/// `linux/neighbour.h`
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NTF_USE: u8 = 1;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
/// States in which the Ethernet address may be used.
const NUD_VALID: u16 =
    NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_NOARP | NUD_PERMANENT;

/// RFC 863: nobody answers.
const DISCARD_PORT: u16 = 9;
/// `sizeof(struct rtmsg)`, `sizeof(struct ndmsg)`
const FIXED_BYTES: usize = 12;
/// `sizeof(struct ifinfomsg)`: the index is its second word, the flags (`linux/if.h`) the third.
const IFINFOMSG_BYTES: usize = 16;
/// The driver says that there is a carrier. `linux/if.h`
const IFF_LOWER_UP: libc::c_int = 1 << 16;

/// The way to a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Index of the interface that the kernel would send through.
    pub interface: u32,
    /// The host to hand the datagram to: a router, or the destination itself.
    pub next_hop: Ipv4Addr,
    /// Own address that the kernel would send from.
    pub source: Option<Ipv4Addr>,
}

/// What is known about the way to a destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Send to this Ethernet address. It is in the cache now.
    Known(MacAddress),
    /// The kernel was asked to solicit it: ask again in some milliseconds. A host that does not
    /// answer stays in this state.
    Asked,
    /// The way leads through another interface, of this index.
    OtherInterface(u32),
    /// No route: unreachable, prohibited, or an address of this host itself.
    NoRoute,
}

/// The kernel's routes and neighbours as seen from one interface, with a cache of what was asked.
#[derive(Debug)]
pub struct Neighbours {
    netlink: Netlink,
    /// Has the kernel look for a neighbour where this process may not ask for that.
    knock: UdpSocket,
    interface: u32,
    /// Sorted by address; not larger than `cache_max`.
    cache: Vec<(Ipv4Addr, MacAddress)>,
    cache_max: usize,
}

impl Neighbours {
    /// For destinations behind `interface` (the one that has the IP address: for a tagged VLAN, its
    /// VLAN interface), in the calling thread's network namespace. Remembers up to `cache_max`
    /// destinations.
    pub fn open(interface: &Interface, cache_max: usize) -> Result<Neighbours> {
        let netlink = Netlink::open()
            .map_err(|error| Error::os("opening netlink for", &interface.name, error))?;
        let knock = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .map_err(|error| Error::os("opening a socket for", &interface.name, error))?;
        let cache = Vec::with_capacity(cache_max);
        Ok(Neighbours { netlink, knock, interface: interface.index, cache, cache_max })
    }

    /// Whether the interface is up and has a carrier; false, too, when it is gone. Two system calls.
    pub fn link_is_up(&mut self) -> Result<bool> {
        let mut fixed = [0; IFINFOMSG_BYTES];
        fixed[4..8].copy_from_slice(&self.interface.to_ne_bytes());
        let answer = match self.netlink.ask(Request::new(libc::RTM_GETLINK, 0, &fixed)) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(false),
            answer => answer.map_err(|error| Error::os("asking for", "the link", error))?,
        };
        let flags = answer.as_ref().and_then(|answer| answer.body.get(8..)?.first_chunk());
        let flags = flags.map_or(0, |bytes| i32::from_ne_bytes(*bytes));
        let wanted = libc::IFF_UP | IFF_LOWER_UP;
        Ok(flags & wanted == wanted)
    }

    /// The Ethernet address that was found for `ip` last. No system call, no allocation; O(log n).
    #[inline]
    pub fn cached(&self, ip: Ipv4Addr) -> Option<MacAddress> {
        let at = self.cache.binary_search_by_key(&ip, |entry| entry.0).ok()?;
        Some(self.cache[at].1)
    }

    /// Asks the kernel for the way to `ip` (a group's address is computed) and updates the cache:
    /// call it for a destination that is not cached, and now and then for each that is, because
    /// hosts change their Ethernet address. Makes some system calls. When the kernel does not know
    /// the neighbour, or has not heard of it lately, it is told to solicit it. A process without
    /// `CAP_NET_ADMIN` may not tell it so; it sends the neighbour an empty datagram to the discard port
    /// (RFC 863) through the kernel instead, which comes to the same.
    pub fn resolve(&mut self, ip: Ipv4Addr) -> Result<Resolution> {
        if let Some(mac) = MacAddress::of_group(ip) {
            self.remember(ip, mac);
            return Ok(Resolution::Known(mac));
        }
        let route = match self.route(ip)? {
            None => {
                self.forget(ip);
                return Ok(Resolution::NoRoute);
            }
            Some(route) if route.interface != self.interface => {
                self.forget(ip);
                return Ok(Resolution::OtherInterface(route.interface));
            }
            Some(route) => route,
        };
        match self.neighbour(route.next_hop)? {
            Some((mac, state)) => {
                if state & NUD_STALE != 0 {
                    self.solicit(route.next_hop)?;
                }
                self.remember(ip, mac);
                Ok(Resolution::Known(mac))
            }
            None => {
                self.forget(ip);
                self.solicit(route.next_hop)?;
                Ok(Resolution::Asked)
            }
        }
    }

    /// The kernel's route to a unicast address. None: no route, or not to another host.
    pub fn route(&mut self, ip: Ipv4Addr) -> Result<Option<Route>> {
        let mut fixed = [0; FIXED_BYTES];
        fixed[0] = libc::AF_INET as u8;
        fixed[1] = 32; // bits of the destination that count
        let request = Request::new(libc::RTM_GETROUTE, 0, &fixed).attribute(RTA_DST, &ip.octets());
        let answer = match self.netlink.ask(request) {
            Ok(answer) => answer,
            Err(error) => match error.raw_os_error() {
                Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => {
                    return Ok(None);
                }
                _ => return Err(Error::os("asking for the route to", ip.to_string(), error)),
            },
        };
        let Some(answer) = answer.filter(|answer| answer.kind == libc::RTM_NEWROUTE) else {
            return Ok(None);
        };
        let Some((fixed, attributes)) = answer.body.split_first_chunk::<FIXED_BYTES>() else {
            return Ok(None);
        };
        if fixed[7] != libc::RTN_UNICAST {
            return Ok(None);
        }
        let number = |kind| attribute(attributes, kind)?.first_chunk::<4>().copied();
        let Some(interface) = number(RTA_OIF).map(u32::from_ne_bytes) else { return Ok(None) };
        Ok(Some(Route {
            interface,
            next_hop: number(RTA_GATEWAY).map_or(ip, Ipv4Addr::from),
            source: number(RTA_PREFSRC).map(Ipv4Addr::from),
        }))
    }

    /// The neighbour's Ethernet address and `NUD_*` state, when the kernel has a usable one.
    fn neighbour(&mut self, ip: Ipv4Addr) -> Result<Option<(MacAddress, u16)>> {
        let request =
            Request::new(libc::RTM_GETNEIGH, 0, &self.fixed(0)).attribute(NDA_DST, &ip.octets());
        let answer = match self.netlink.ask(request) {
            Ok(answer) => answer,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => {
                return Err(Error::os("asking for the neighbour", ip.to_string(), error));
            }
        };
        let Some(answer) = answer.filter(|answer| answer.kind == libc::RTM_NEWNEIGH) else {
            return Ok(None);
        };
        let Some((fixed, attributes)) = answer.body.split_first_chunk::<FIXED_BYTES>() else {
            return Ok(None);
        };
        let state = u16::from_ne_bytes([fixed[8], fixed[9]]);
        let mac = attribute(attributes, NDA_LLADDR).and_then(|mac| <[u8; 6]>::try_from(mac).ok());
        Ok(mac.filter(|_| state & NUD_VALID != 0).map(|mac| (MacAddress(mac), state)))
    }

    /// Has the kernel find out, as if it wanted to send (`ip neigh ... use`).
    fn solicit(&mut self, ip: Ipv4Addr) -> Result<()> {
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE;
        let request = Request::new(libc::RTM_NEWNEIGH, flags, &self.fixed(NTF_USE))
            .attribute(NDA_DST, &ip.octets());
        match self.netlink.ask(request) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                // Lost or refused, it is sent again with the next question.
                let _ = self.knock.send_to(&[], (ip, DISCARD_PORT));
                Ok(())
            }
            Err(error) => Err(Error::os("soliciting", ip.to_string(), error)),
        }
    }

    /// `struct ndmsg` of this interface.
    fn fixed(&self, flags: u8) -> [u8; FIXED_BYTES] {
        let mut fixed = [0; FIXED_BYTES];
        fixed[0] = libc::AF_INET as u8;
        fixed[4..8].copy_from_slice(&self.interface.to_ne_bytes());
        fixed[10] = flags;
        fixed
    }

    /// Puts an address into the cache, e.g. one that was seen as a sender's. When the cache is full,
    /// an entry makes room.
    pub fn remember(&mut self, ip: Ipv4Addr, mac: MacAddress) {
        match self.cache.binary_search_by_key(&ip, |entry| entry.0) {
            Ok(at) => self.cache[at].1 = mac,
            Err(_) if self.cache_max == 0 => {}
            Err(mut at) => {
                if self.cache.len() == self.cache_max {
                    // Any will do: it is asked for again. The neighbour in order is at hand.
                    let victim = at.min(self.cache.len() - 1);
                    self.cache.remove(victim);
                    at = at.min(self.cache.len());
                }
                self.cache.insert(at, (ip, mac));
            }
        }
    }

    /// Takes an address out of the cache.
    pub fn forget(&mut self, ip: Ipv4Addr) {
        if let Ok(at) = self.cache.binary_search_by_key(&ip, |entry| entry.0) {
            self.cache.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbours(cache_max: usize) -> Neighbours {
        Neighbours::open(&Interface::named("lo").unwrap(), cache_max).unwrap()
    }

    #[test]
    fn the_cache_stays_sorted_and_within_its_limit() {
        let mut neighbours = neighbours(3);
        for i in [5u8, 1, 9, 3, 7, 1, 200, 0] {
            let mac = MacAddress([i; 6]);
            neighbours.remember(Ipv4Addr::new(10, 0, 0, i), mac);
            assert_eq!(neighbours.cached(Ipv4Addr::new(10, 0, 0, i)), Some(mac));
            assert!(neighbours.cache.len() <= 3);
            assert!(neighbours.cache.is_sorted_by_key(|entry| entry.0));
        }
        neighbours.forget(Ipv4Addr::new(10, 0, 0, 0));
        assert_eq!(neighbours.cached(Ipv4Addr::new(10, 0, 0, 0)), None);
    }

    #[test]
    fn groups_need_no_table_and_own_addresses_have_no_way() {
        let mut neighbours = neighbours(4);
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let known = Resolution::Known(MacAddress::of_group(group).unwrap());
        assert_eq!(neighbours.resolve(group).unwrap(), known);
        assert_eq!(neighbours.resolve(Ipv4Addr::LOCALHOST).unwrap(), Resolution::NoRoute);
    }
}
