//! What a real host gives: sockets, a place for the hot tier, random numbers.

use super::{Ports, StartError, Surroundings};
use crate::clock::SystemClock;
use crate::config::{Config, HotTier};
use crate::gateway::Entropy;
use crate::net::capture::Capture;
use crate::net::xdp::{Nic, NicConfig, Path as NetworkPath, XdpError};
use crate::net::{AnyPort, CapturedPort, LossyPort, UdpPort, XdpPort};
use crate::store::{files, memory_free_bytes};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// Segments of each log that must fit before the hot tier goes to /dev/shm by itself.
const AUTO_HOT_SEGMENTS: u64 = 4;

/// The surroundings of a venue on this host, and the way that its datagrams take.
pub(super) fn surroundings(
    config: &Config,
    clock: SystemClock,
    capture: Option<&Capture>,
) -> Result<(Surroundings<SystemClock>, Way), StartError> {
    let (ports, way) = Ports::open(config, capture)?;
    let entropy =
        Entropy::system().map_err(|cause| StartError::Host { what: "random numbers", cause })?;
    Ok((Surroundings { clock, storage: files(), hot: hot_tier(config), ports, entropy }, way))
}

/// The way that datagrams take.
pub(super) struct Way {
    /// Its name.
    pub(super) path: NetworkPath,
    /// Why none of the better ones, one line each.
    pub(super) why: Vec<String>,
    /// The NIC, if there is one.
    pub(super) nic: Option<Nic>,
}

/// Root of the hot tier of a day that begins.
pub(super) fn hot_tier(config: &Config) -> PathBuf {
    // Made first: the hot tier's name comes from where it really is.
    let _ = std::fs::create_dir_all(&config.data); // Day::open tells what is wrong with it
    match &config.hot {
        HotTier::Directory(path) => path.clone(),
        HotTier::Auto => auto_hot_tier(config),
    }
}

/// Where the hot tier should lie, whether there is room or not; makes nothing. For the doctor.
pub fn hot_place(config: &Config) -> PathBuf {
    match &config.hot {
        HotTier::Directory(path) => path.clone(),
        HotTier::Auto => shm_place(config),
    }
}

/// The one address of the NIC that AF_XDP takes.
pub(super) fn nic_address(config: &Config) -> Result<Ipv4Addr, XdpError> {
    let listen = *config.gateway.listen.ip();
    let (repair, interface) = (*config.feed.repair.ip(), config.feed.interface);
    if listen.is_loopback() || listen != repair || listen != interface {
        return Err(XdpError::NotOneAddress { listen, repair, interface });
    }
    Ok(listen)
}

impl Ports {
    /// Ports by the best way that the configuration allows and the host can.
    fn open(config: &Config, capture: Option<&Capture>) -> Result<(Ports, Way), StartError> {
        let wish = config.network.path;
        let mut why = Vec::new();
        if !wish.modes().is_empty() {
            match Ports::on_nic(config, capture) {
                Ok((ports, nic)) => {
                    why.clone_from(&nic.refused);
                    return Ok((ports, Way { path: nic.path(), why, nic: Some(nic) }));
                }
                Err(cause) if !wish.allows_udp() => {
                    return Err(StartError::Path { path: wish.text(), cause });
                }
                Err(cause) => why.push(format!("no AF_XDP: {cause}")),
            }
        }
        Ok((Ports::bind(config, capture)?, Way { path: NetworkPath::Udp, why, nic: None }))
    }

    fn on_nic(config: &Config, capture: Option<&Capture>) -> Result<(Ports, Nic), XdpError> {
        let (network, feed) = (&config.network, &config.feed);
        let listen = nic_address(config)?;
        let interface = match &network.interface {
            Some(name) => af_xdp::Interface::named(name).map_err(|error| match error {
                af_xdp::Error::NoSuchInterface { .. } => XdpError::NoInterface(name.clone()),
                error => error.into(),
            }),
            None => af_xdp::Interface::with_address(listen).map_err(|error| match error {
                af_xdp::Error::NoSuchInterface { .. } => XdpError::NoAddress(listen),
                error => error.into(),
            }),
        };
        let interface = interface?.name;
        let mut nic = Nic::open(&NicConfig {
            interface,
            queues: network.queues.clone(),
            modes: network.path.modes(),
            destinations: vec![config.gateway.listen, feed.repair],
            busy_poll: network.busy_poll,
        })?;
        if let Some(capture) = capture {
            nic.set_capture(capture.clone());
        }
        let lossy = |port: XdpPort, seed: u64| match config.loss_ppm {
            0 => AnyPort::Xdp(Box::new(port)),
            ppm => AnyPort::LossyXdp(Box::new(LossyPort::new(port, seed, ppm))),
        };
        let gateway = lossy(nic.bind(config.gateway.listen)?.for_strangers(), 11);
        let lines = AnyPort::Xdp(Box::new(nic.multicast_sender(feed.interface, feed.ttl)?));
        let repair = lossy(nic.bind(feed.repair)?.for_strangers(), 12);
        Ok((Ports { gateway, feed: lines, repair }, nic))
    }

    /// Sockets at the addresses that the configuration names.
    fn bind(config: &Config, capture: Option<&Capture>) -> Result<Ports, StartError> {
        let captured = |port: UdpPort, name: &str, seed: Option<u64>| {
            let loss = seed.map(|seed| (seed, config.loss_ppm)).filter(|(_, ppm)| *ppm > 0);
            let tap = capture.map(|capture| capture.tap(name, "kernel's socket; headers made up"));
            match (tap, loss) {
                (None, None) => AnyPort::Udp(port),
                (None, Some((seed, ppm))) => AnyPort::Lossy(LossyPort::new(port, seed, ppm)),
                (tap, None) => AnyPort::Captured(Box::new(CapturedPort::new(port, tap))),
                (tap, Some((seed, ppm))) => {
                    let port = CapturedPort::new(port, tap);
                    AnyPort::LossyCaptured(Box::new(LossyPort::new(port, seed, ppm)))
                }
            }
        };
        let bind = |what, name, address, seed| {
            UdpPort::bind(address)
                .map(|port| captured(port, name, Some(seed)))
                .map_err(|cause| StartError::Address { what, address, cause })
        };
        let feed = &config.feed;
        let multicast =
            UdpPort::multicast_sender(feed.interface, feed.ttl as u32).map_err(|cause| {
                let address = SocketAddrV4::new(feed.interface, 0);
                StartError::Address { what: "feed.interface", address, cause }
            })?;
        Ok(Ports {
            gateway: bind("gateway.listen", "gateway", config.gateway.listen, 11)?,
            feed: captured(multicast, "feed", None),
            repair: bind("feed.repair", "repair", feed.repair, 12)?,
        })
    }
}

/// Memory that is a file system.
const SHM: &str = "/dev/shm";

fn shm_place(config: &Config) -> PathBuf {
    let whole = std::path::absolute(&config.data).unwrap_or_else(|_| config.data.clone());
    let whole = whole.canonicalize().unwrap_or(whole);
    let name = crc32c::crc32c(whole.as_os_str().as_encoded_bytes());
    Path::new(SHM).join(format!("rialto-{name:08x}"))
}

/// A directory of /dev/shm that belongs to this data directory: two venues on one host must not meet
/// there. The same data directory finds it again.
/// Where there is no tmpfs, or one too small for a few segments (containers often give 64 MiB), it
/// lies in the data directory, if the configuration allows that: degraded, and told.
fn auto_hot_tier(config: &Config) -> PathBuf {
    let hot = shm_place(config);
    if has_room(config, &hot) { hot } else { config.data.join("hot") }
}

/// Bytes that /dev/shm must have for a hot tier that goes there by itself.
pub(super) fn auto_bytes(config: &Config) -> u64 {
    2 * AUTO_HOT_SEGMENTS * config.segment_bytes
}

/// Whether the hot tier can lie in `hot`, or lies there already.
fn has_room(config: &Config, hot: &Path) -> bool {
    hot.is_dir() || memory_free_bytes(Path::new(SHM)).is_some_and(|free| free >= auto_bytes(config))
}

/// Whether a start would find no memory for the hot tier where the configuration leaves the place to it.
pub(super) fn lacks_room(config: &Config) -> bool {
    config.hot == HotTier::Auto && !has_room(config, &shm_place(config))
}
