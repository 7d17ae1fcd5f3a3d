//! Notes: what actors wrote down, held against the logs.
//!
//! Consumes delivered reports, concluded messages, digests of mirrors and brokers' own orders, of any day;
//! produces those that contradict the logs of this one.

use super::Faults;
use super::ledger::Ledger;
use super::seen::{Believed, Concluded, Delivered, Mirrored};
use super::session::SessionWatch;
use crate::broker::SettledBy;
use crate::types::*;

/// What was not judged yet.
#[derive(Default)]
pub struct Notes {
    delivered: Vec<Delivered>,
    concluded: Vec<Concluded>,
    mirrored: Vec<Mirrored>,
    believed: Vec<Believed>,
}

impl Notes {
    /// More of it.
    pub fn take(
        &mut self,
        delivered: &[Delivered],
        concluded: &[Concluded],
        mirrored: &[Mirrored],
        believed: &[Believed],
    ) {
        self.delivered.extend_from_slice(delivered);
        self.concluded.extend_from_slice(concluded);
        self.mirrored.extend_from_slice(mirrored);
        self.believed.extend_from_slice(believed);
    }

    /// Judges all of it, as far as the logs tell by now; orders believed to be live when it is the `end`.
    pub fn judge(
        &mut self,
        ledger: &Ledger,
        sessions: &[SessionWatch],
        end: bool,
        faults: &mut Faults,
    ) {
        let Some(genesis) = &ledger.genesis else { return };
        let name_of = |slot: SessionSlot| genesis.downstream_name(slot);
        for d in std::mem::take(&mut self.delivered) {
            let Some(session) = sessions.get(d.slot.0 as usize) else { continue };
            if name_of(d.slot) == Some(d.name)
                && session.reports.get(d.number) != Some(&d.bytes[..])
            {
                let (log, got) = (session.reports.get(d.number), super::stream::hex(&d.bytes));
                let log = log.map(super::stream::hex);
                let what = format!("session {}, report {}: log {log:?}, {got}", d.slot.0, d.number);
                faults.add("a broker got another report than the log has", what);
            }
        }
        for c in std::mem::take(&mut self.concluded) {
            let Some(session) = sessions.get(c.slot.0 as usize) else { continue };
            if name_of(c.slot) != Some(c.name) {
                continue;
            }
            let refused = session.was_refused(c.sequence);
            let applied = c.sequence <= session.applied();
            let right = match c.by {
                SettledBy::Applied | SettledBy::Report => applied,
                SettledBy::NotApplied => refused,
                SettledBy::Withdrawn | SettledBy::Unknown => true,
            };
            if !right || c.by == SettledBy::Applied && refused {
                let what = format!("{c:?}: applied {applied}, covered by N {refused}");
                faults.add("a message was concluded wrongly", what);
            }
        }
        let feed_name = genesis.feed_session();
        for m in std::mem::take(&mut self.mirrored) {
            let expected = ledger.digests.get(&m.feed).copied();
            let known = expected.is_some() || !m.last;
            if m.session == feed_name && known && expected != Some(m.digest) {
                let what = format!("{m:?}, expected {expected:x?}");
                faults.add("a mirror is not the exchange's book", what);
            }
        }
        let believed = std::mem::take(&mut self.believed);
        let Some(naive) = ledger.naive().filter(|_| end) else { return };
        for b in believed {
            let session = naive.session(b.slot).map_or(0, |s| s.next_report);
            if name_of(b.slot) != Some(b.name) || session != b.next_report {
                continue;
            }
            let mut real = Vec::new();
            for i in 0..genesis.symbols.len() as u16 {
                for side in [Side::Buy, Side::Sell] {
                    let orders = naive.orders(Locate(i + 1), side);
                    let own = orders.into_iter().filter(|o| o.session == b.slot);
                    real.extend(own.map(|o| (o.urn, o.order_ref, o.open, o.price)));
                }
            }
            real.sort();
            if real != b.orders {
                let at = real.iter().zip(&b.orders).position(|(a, b)| a != b);
                let at = at.unwrap_or(real.len().min(b.orders.len()));
                let (real, own) = (real.get(at), b.orders.get(at));
                let what = format!("session {}: exchange {real:?}, broker {own:?}", b.slot.0);
                faults.add("a broker's own orders are not the exchange's", what);
            }
        }
    }
}
