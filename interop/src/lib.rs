//! Witnesses: clients and decoders written by others, set beside our own codecs.
//!
//! | module | witness | what is compared |
//! |---|---|---|
//! | [`itch`] | crates itch5 and itchy | every field of every message of the feed |
//! | [`itchfeed`] | itchfeed (PyPI), by `python/itchfeed_dump.py` | the same, from a recorded day |
//! | [`ouch`] | crate slouch | every field of every report; the bytes of every order it can say |
//! | [`trade`] | crate slouch | its orders at a live gateway, the gateway's reports |
//! | [`feed`] | crate moldudp | a live feed with packets withheld on purpose, repaired |
//! | [`tshark`] | tshark (Debian) | head, block lengths and block bytes of a capture, both ways |
//!
//! [`day`], [`pcap`] and [`sample`] read and write the files that these work on. Nothing here runs
//! in the exchange; panics and allocations are as in any test.

pub mod day;
pub mod feed;
pub mod fields;
pub mod itch;
pub mod itchfeed;
pub mod ouch;
pub mod pcap;
pub mod sample;
pub mod trade;
pub mod tshark;
