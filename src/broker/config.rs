//! What a broker's connection is told at construction, checked once.
//!
//! Consumes plain values, produces a checked [`BrokerConfig`] or every error at once. Must not
//! know files or text formats: a program reads those and fills this in.

use std::net::SocketAddrV4;

use crate::types::*;

/// Repeat an unsettled message after this long at the earliest. session.md 13 asks for twice the
/// p99.9 round trip; 5 ms is its stated default and generous inside a data centre.
pub const RESEND_AFTER_NS: u64 = 5_000_000;
/// Unsettled messages held at most, unless configured otherwise: the gateway drops beyond 1,024
/// uncommitted messages of a session.
pub const WINDOW: usize = 1_024;
/// Largest window that may be configured: the exchange drops a jump of more than 65,536.
pub const WINDOW_MAX: usize = 65_536;
/// Dead time granted when 0 is asked for, milliseconds.
pub const DEAD_TIME_MS_DEFAULT: u16 = 5_000;

/// Which report the application wants first when this process logs in for the first time.
///
/// After a reconnect within the same process the next wanted report is always the one after the
/// last delivered, whatever stands here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StartAt {
    /// Report 1 of the day: the whole day is replayed, so that own orders and positions are
    /// rebuilt from nothing. Right after a crash of the broker's process.
    #[default]
    Rebuild,
    /// This report number (from 1): the application persisted the last one it handled, together
    /// with the downstream name, which belongs into `wanted` (another name numbers anew).
    Report(u64),
    /// Only what comes after the login; own orders of earlier today are not known.
    Live,
}

/// Settings of one session.
#[derive(Clone)]
pub struct BrokerConfig {
    /// User name, 1-6 of A-Z 0-9.
    pub user: User,
    /// The user's key. Never sent.
    pub key: [u8; 32],
    /// Gateway addresses in order of preference, at least one: as the gateway is configured to be
    /// reached (`public` behind NAT), because the login's HMAC covers address and port.
    pub gateways: Vec<SocketAddrV4>,
    /// Ask the exchange to cancel every open order when the session ends.
    pub cancel_on_disconnect: bool,
    /// Ask for a MAC on every packet (shared segments).
    pub packet_mac: bool,
    /// Dead time asked for, ms: 0 = 5,000, else clamped by the exchange into 1,000..=15,000.
    pub dead_time_ms: u16,
    /// Downstream name wanted; blank = the current one. A name other than the exchange's current
    /// one is answered with the current one and reported as `SessionChanged`.
    pub wanted: SessionName,
    /// Repeat an unsettled message after this many ns at the earliest. The wait follows the round
    /// trips: twice about the longest of the last thousand, the login's being the first; each wait
    /// in vain doubles it until a message is settled without a repeat.
    pub resend_after_ns: u64,
    /// However long round trips are, repeat after this many ns; less than `resend_after_ns` = that.
    /// 1 s by default: a network that loses makes round trips long, too.
    pub resend_max_ns: u64,
    /// Messages in the window at most: a power of two, 1..=65,536. A full window refuses, so that
    /// a silent exchange never makes the broker's memory grow.
    pub window: usize,
    /// Put up to this many preceding unsettled messages into each new datagram, so that one lost
    /// datagram followed by another loses nothing. 0 = off: right on a clean network, because the
    /// repeated blocks pass the exchange's sequencer while they are not yet committed.
    pub repeat_previous: u16,
    /// After a reconnect, go on with the messages that the exchange had not applied (true, the
    /// default), or take them back and refuse new ones while not bound (false: an order that
    /// waited seconds for a reconnect may be at a price nobody wants any more).
    pub keep_unsettled: bool,
    /// First report wanted at the first login of this process.
    pub start_at: StartAt,
    /// Seed of client nonces and of the back-off's jitter; `None` = the operating system's
    /// randomness. A seed is for tests and simulation only.
    pub seed: Option<u64>,
}

impl BrokerConfig {
    /// Defaults for `user`, `key` and `gateways`: no cancel on disconnect, no packet MAC.
    pub fn new(user: User, key: [u8; 32], gateways: Vec<SocketAddrV4>) -> BrokerConfig {
        BrokerConfig {
            user,
            key,
            gateways,
            cancel_on_disconnect: false,
            packet_mac: false,
            dead_time_ms: 0,
            wanted: SessionName::BLANK,
            resend_after_ns: RESEND_AFTER_NS,
            resend_max_ns: 1_000_000_000,
            window: WINDOW,
            repeat_previous: 0,
            keep_unsettled: true,
            start_at: StartAt::Rebuild,
            seed: None,
        }
    }

    /// Every error at once; `Ok` when there is none.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut errors = Vec::new();
        let user = self.user.text();
        let letters = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit();
        if user.is_empty() || !user.bytes().all(letters) {
            errors.push(ConfigError::User(user));
        }
        if self.gateways.is_empty() {
            errors.push(ConfigError::NoGateway);
        }
        for gateway in &self.gateways {
            if gateway.port() == 0 || gateway.ip().is_unspecified() || gateway.ip().is_multicast() {
                errors.push(ConfigError::Gateway(*gateway));
            }
        }
        if !self.window.is_power_of_two() || self.window > WINDOW_MAX {
            errors.push(ConfigError::Window(self.window));
        }
        if !(10_000..=10_000_000_000).contains(&self.resend_after_ns) {
            errors.push(ConfigError::ResendAfter(self.resend_after_ns));
        }
        if self.start_at == StartAt::Report(0) {
            errors.push(ConfigError::StartAt);
        }
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors)) }
    }
}

impl std::fmt::Debug for BrokerConfig {
    /// Everything but the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("user", &self.user)
            .field("gateways", &self.gateways)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// One wrong setting: which, its value, what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// User name is empty or has other characters.
    #[error("user {0:?}: must be 1-6 characters of A-Z and 0-9")]
    User(String),
    /// No gateway address.
    #[error("gateways: at least one address such as 127.0.0.1:9001 is needed")]
    NoGateway,
    /// An address nothing can be sent to.
    #[error("gateway {0}: must be a unicast IPv4 address with a port, such as 127.0.0.1:9001")]
    Gateway(SocketAddrV4),
    /// Window out of range.
    #[error("window {0}: must be a power of two from 1 to 65536")]
    Window(usize),
    /// Repeat interval out of range.
    #[error("resend_after_ns {0}: must be from 10000 (10 us) to 10000000000 (10 s)")]
    ResendAfter(u64),
    /// Report numbers start at 1.
    #[error("start_at report 0: reports are numbered from 1")]
    StartAt,
}

/// All wrong settings of one configuration, in the order of its fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let mut config = BrokerConfig::new(User::new("alfa").unwrap(), [0; 32], vec![]);
        config.window = 1_000;
        config.resend_after_ns = 0;
        config.start_at = StartAt::Report(0);
        let errors = config.check().unwrap_err();
        assert_eq!(errors.0.len(), 5);
        let text = errors.to_string();
        assert!(text.contains("\"alfa\"") && text.contains("power of two"), "{text}");
    }

    #[test]
    fn the_key_is_not_printed() {
        let config = BrokerConfig::new(User::new("A1").unwrap(), [0xAB; 32], vec![]);
        assert!(!format!("{config:?}").contains("171"));
    }
}
