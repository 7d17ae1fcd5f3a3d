//! A port that loses a seeded share of what it receives: to show repair at work.
//!
//! Wraps any [`Port`]; sending is untouched. Must not know what datagrams mean.

use crate::random::SplitMix64;
use std::net::SocketAddrV4;
use std::os::fd::RawFd;

use super::capture::CapturedPort;
use super::port::Port;
use super::udp::UdpPort;
use super::xdp::XdpPort;

/// Loses datagrams on receipt.
pub struct LossyPort<P> {
    inner: P,
    random: Random,
    drop_per_million: u32,
    lost: u64,
}

impl<P: Port> LossyPort<P> {
    /// Loses `drop_per_million` of a million received datagrams (1,000,000 = all), chosen by a
    /// generator started from `seed`: same seed and same arrivals, same losses.
    pub fn new(inner: P, seed: u64, drop_per_million: u32) -> LossyPort<P> {
        LossyPort { inner, random: Random::new(seed), drop_per_million, lost: 0 }
    }

    /// Datagrams lost so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }
}

impl<P: Port> LossyPort<P> {
    /// With `inner`, a second handle on the same endpoint, losing by a sequence of its own.
    fn beside(&self, inner: P) -> Self {
        let mut random = self.random;
        LossyPort::new(inner, random.next(), self.drop_per_million)
    }
}

impl LossyPort<UdpPort> {
    /// A second handle on the same socket.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(self.beside(self.inner.try_clone()?))
    }
}

impl LossyPort<CapturedPort<UdpPort>> {
    /// A second handle on the same socket.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(self.beside(self.inner.try_clone()?))
    }
}

impl LossyPort<XdpPort> {
    /// A second handle on the same endpoint.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(self.beside(self.inner.try_clone()?))
    }
}

impl<P: Port> Port for LossyPort<P> {
    fn receive(&mut self, mut on_datagram: impl FnMut(&[u8], SocketAddrV4)) -> usize {
        let LossyPort { inner, random, drop_per_million, lost } = self;
        let mut kept = 0;
        inner.receive(|payload, from| {
            if random.chance(*drop_per_million) {
                *lost += 1;
            } else {
                kept += 1;
                on_datagram(payload, from);
            }
        });
        kept
    }

    fn send(&mut self, to: SocketAddrV4, fill: impl FnOnce(&mut [u8]) -> usize) {
        self.inner.send(to, fill);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn local(&self) -> SocketAddrV4 {
        self.inner.local()
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.inner.poll_fd()
    }

    fn dropped(&self) -> u64 {
        self.inner.dropped()
    }
}

/// Which datagrams are lost, from a seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(SplitMix64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0.draw()
    }

    /// True in `per_million` of a million cases; 0 never, 1,000,000 always.
    pub(super) fn chance(&mut self, per_million: u32) -> bool {
        per_million != 0 && self.next() % 1_000_000 < u64::from(per_million)
    }
}
