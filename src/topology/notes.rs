//! What a start on this host would say of a configuration, before anybody starts it.
//!
//! Consumes a checked configuration; produces sentences. Opens and changes nothing: whether an address
//! is free and AF_XDP can be had, the start itself tells.

use super::StartError;
use super::place::Placement;
use crate::agent::usable_cores;
use crate::config::Config;
use crate::host::Live;
use crate::host::realtime::isolated;
use crate::net::xdp::XdpError;
use std::net::Ipv4Addr;

/// What this host lacks for `config`, a sentence each: addresses, the NIC, CPUs.
pub fn host_notes(config: &Config) -> Vec<String> {
    let mut notes = way(config, &Here);
    if super::host::lacks_room(config) {
        let mib = super::host::auto_bytes(config) >> 20;
        notes.push(match config.degraded_allowed {
            false => format!("{}; a start fails", StartError::NoRoom { mib }),
            true => format!("/dev/shm has no {mib} MiB free: the hot tier goes to a disk"),
        });
    }
    let usable = usable_cores(config.threads.iter().filter_map(|thread| thread.cpu));
    notes.extend(Placement::of(config, &usable, &isolated(&Live::host())).notes);
    notes
}

/// Interfaces of a host.
trait Interfaces {
    fn has_name(&self, name: &str) -> bool;
    fn has_address(&self, ip: Ipv4Addr) -> bool;
}

struct Here;

impl Interfaces for Here {
    fn has_name(&self, name: &str) -> bool {
        af_xdp::Interface::named(name).is_ok()
    }

    fn has_address(&self, ip: Ipv4Addr) -> bool {
        af_xdp::Interface::with_address(ip).is_ok()
    }
}

/// Of addresses, and of the way that datagrams can take.
fn way(config: &Config, host: &dyn Interfaces) -> Vec<String> {
    let (gateway, feed) = (&config.gateway, &config.feed);
    let mut notes = Vec::new();
    let all = [
        ("gateway.listen", *gateway.listen.ip()),
        ("feed.repair", *feed.repair.ip()),
        ("feed.interface", feed.interface),
    ];
    for (key, ip) in all {
        // All of 127.0.0.0/8 is this host, and a wildcard is every interface.
        if !ip.is_loopback() && !ip.is_unspecified() && !host.has_address(ip) {
            notes.push(format!("{key}: {}; a start fails", XdpError::NoAddress(ip)));
        }
    }
    let wish = config.network.path;
    if wish.modes().is_empty() {
        return notes;
    }
    let then = if wish.allows_udp() { "it takes sockets" } else { "a start fails" };
    if let Err(error) = super::host::nic_address(config) {
        notes.push(format!("network.path {wish}: {error}; {then}"));
    } else if let Some(name) = config.network.interface.as_ref().filter(|n| !host.has_name(n)) {
        notes.push(format!("network.path {wish}: {}; {then}", XdpError::NoInterface(name.clone())));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Host(&'static [(&'static str, [u8; 4])]);

    impl Interfaces for Host {
        fn has_name(&self, name: &str) -> bool {
            self.0.iter().any(|(own, _)| *own == name)
        }

        fn has_address(&self, ip: Ipv4Addr) -> bool {
            self.0.iter().any(|(_, own)| *own == ip.octets())
        }
    }

    fn told(listen: &str, repair: &str, network: &str) -> Vec<String> {
        let text = include_str!("../../rialto.toml")
            .replacen("127.0.0.1:9001", &format!("{listen}:9001"), 1)
            .replacen("127.0.0.1:9103", &format!("{repair}:9103"), 1)
            .replacen("interface = \"127.0.0.1\"", &format!("interface = \"{listen}\""), 1);
        let text = format!("{text}\n[network]\n{network}\n");
        let config = Config::parse(Path::new("x.toml"), &text).unwrap();
        way(&config, &Host(&[("eth1", [10, 0, 0, 1]), ("eth2", [10, 0, 1, 1])]))
    }

    #[test]
    fn a_hot_tier_that_finds_no_memory_is_told() {
        let text = include_str!("../../rialto.toml");
        let huge = text.replace("segment_mib = 16", "segment_mib = 4096");
        let huge = huge.replace("hot_segments_max = 16", "hot_segments_max = 4096");
        let parse = |text: &str| Config::parse(Path::new("/nowhere/x.toml"), text).unwrap();
        // No host of a test has 32 GiB free there, or then the note is not due.
        let config = parse(&huge);
        let due = super::super::host::lacks_room(&config);
        let told =
            |config: &Config, words: &str| host_notes(config).iter().any(|n| n.contains(words));
        assert_eq!(told(&config, "32768 MiB free, four segments"), due);
        let allowed = parse(&huge.replace("degraded = false", "degraded = true"));
        assert_eq!(told(&allowed, "goes to a disk"), due);
        let named = parse(&huge.replace("hot = \"auto\"", "hot = \"/nowhere/hot\""));
        assert!(!told(&named, "MiB free"));
    }

    #[test]
    fn addresses_and_interfaces_that_are_not_here_are_told() {
        let (one, two, foreign) = ("10.0.0.1", "10.0.1.1", "10.9.9.9");
        for (listen, repair, network, expected) in [
            ("127.0.0.1", "127.0.0.1", "", &[][..]),
            (one, two, "", &[]),
            (one, one, "path = \"auto\"", &[]),
            (one, one, "path = \"af_xdp\"\ninterface = \"eth1\"", &[]),
            (one, two, "path = \"auto\"", &["one address of a NIC for all three"]),
            ("127.0.0.1", "127.0.0.1", "path = \"auto\"", &["it takes sockets"]),
            (one, one, "path = \"auto\"\ninterface = \"eth7\"", &["no interface eth7"]),
            (one, one, "path = \"af_xdp\"\ninterface = \"eth7\"", &["a start fails"]),
            (one, foreign, "", &["feed.repair: no interface of this host has 10.9.9.9"]),
            (foreign, one, "", &["gateway.listen: ", "feed.interface: "]),
        ] {
            let notes = told(listen, repair, network);
            assert_eq!(notes.len(), expected.len(), "{listen} {repair} {network}: {notes:?}");
            for (note, words) in notes.iter().zip(expected) {
                assert!(note.contains(words), "{note}");
            }
        }
    }
}
