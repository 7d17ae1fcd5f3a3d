//! What one broker's evidence says by itself, before anything is compared with a log.
//!
//! Consumes one file; produces what was sent under each client sequence and how it ended. Checks
//! what needs no other witness: numbers without gap or repetition, no order acknowledged twice, no
//! order executed beyond what was entered, nothing left without a conclusion.

use super::Faults;
use super::restarts::Restarts;
use crate::cli::witness::evidence::{EvidenceReader, FIGURES};
use anyhow::Context;
use rialto::types::*;
use rialto::wire::ouch::{self, Inbound, Outbound};
use std::path::{Path, PathBuf};

/// A message and what became of it.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub inbound: Inbound,
    /// `R`, `K`, `N`, `W`, `?`; 0 = none.
    pub conclusion: u8,
    /// How often the log says that it was applied.
    pub applied: u8,
}

/// One order, by URN.
#[derive(Clone, Copy, Default)]
struct Order {
    /// Client sequence of its message, 0 = not of this process.
    sequence: u64,
    sent: Nanos,
    entered: u32,
    executed: u32,
    answers: u8,
}

/// One session's evidence.
pub struct BrokerFile {
    pub path: PathBuf,
    /// Client sequence of `messages[0]`; without any, of none.
    pub first_sequence: u64,
    pub messages: Vec<Message>,
    /// Number of the first report.
    pub first_report: u64,
    next_report: u64,
    pub reports: u64,
    pub acknowledged: u64,
    pub rejected: u64,
    pub not_applied: u64,
    /// Messages without a conclusion.
    pub open: u64,
    pub transmitted_again: u64,
    pub logins: u64,
    pub copies: u64,
    /// By URN.
    orders: Vec<Order>,
    /// Match number and shares of each execution.
    pub executions: Vec<(u64, u32)>,
}

impl BrokerFile {
    /// Reads the whole file.
    pub fn read(
        path: &Path,
        mut reader: EvidenceReader,
        restarts: &mut Restarts,
        faults: &mut Faults,
    ) -> anyhow::Result<BrokerFile> {
        let mut file = BrokerFile {
            path: path.to_path_buf(),
            first_sequence: u64::MAX,
            messages: Vec::new(),
            first_report: 0,
            next_report: 0,
            reports: 0,
            acknowledged: 0,
            rejected: 0,
            not_applied: 0,
            open: 0,
            transmitted_again: 0,
            logins: 0,
            copies: 0,
            orders: Vec::new(),
            executions: Vec::new(),
        };
        let name = reader.name.clone();
        while let Some(record) = reader.next()? {
            let (first, time) = (record.number(0), record.time);
            match record.letter {
                b'M' => {
                    let inbound = ouch::decode_inbound(record.rest(12)).ok();
                    let inbound =
                        inbound.with_context(|| format!("{}: message {first}", path.display()))?;
                    file.message(&name, first, inbound, time, faults);
                }
                b'R' => {
                    let bytes = record.rest(8);
                    file.report(&name, first, bytes, time, restarts, faults);
                }
                b'K' => {
                    let &[low, high, how] = record.rest(8) else {
                        anyhow::bail!("{}: conclusion of {first}", path.display())
                    };
                    let again = u16::from_le_bytes([low, high]) > 1;
                    file.conclude(&name, first, how, again, faults);
                }
                b'L' => file.logins += 1,
                b'G' => {}
                b'C' => faults.add(|| format!("{name}: the downstream name changed")),
                b'X' => faults.add(|| format!("{name}: report {first} came with two contents")),
                b'E' => {
                    file.copies = record.number(FIGURES + 16);
                    let open = record.number(FIGURES);
                    let next = record.number(FIGURES + 8);
                    if open != 0 || next != file.next_report {
                        faults.add(|| {
                            format!("{name}: ended with {open} messages open, next report {next}")
                        });
                    }
                }
                letter => anyhow::bail!("{}: unknown record {letter}", path.display()),
            }
        }
        file.open = file.messages.iter().filter(|m| m.conclusion == 0).count() as u64;
        if file.open > 0 {
            faults.add(|| format!("{name}: {} messages without a conclusion", file.open));
        }
        Ok(file)
    }

    fn message(
        &mut self,
        name: &str,
        sequence: u64,
        inbound: Inbound,
        sent: Nanos,
        faults: &mut Faults,
    ) {
        if self.messages.is_empty() {
            self.first_sequence = sequence;
        }
        if sequence != self.first_sequence + self.messages.len() as u64 {
            faults.add(|| format!("{name}: client sequence {sequence} out of turn"));
            return;
        }
        let (urn, entered) = match inbound {
            Inbound::Enter(m) => (m.urn, m.quantity.0),
            // States what was executed before, too: at least nothing beyond it may execute.
            Inbound::Replace(m) => (m.urn, m.quantity.0),
            Inbound::Cancel(_) | Inbound::Query => (Urn(0), 0),
        };
        if urn != Urn(0) {
            let order = self.order(urn);
            if order.sequence != 0 {
                faults.add(|| format!("{name}: sent URN {} twice", urn.0));
            }
            *order = Order { sequence, sent, entered, ..Order::default() };
        }
        self.messages.push(Message { inbound, conclusion: 0, applied: 0 });
    }

    fn order(&mut self, urn: Urn) -> &mut Order {
        let index = urn.0 as usize;
        if index >= self.orders.len() {
            self.orders.resize(index + 1, Order::default());
        }
        &mut self.orders[index]
    }

    /// The message of a client sequence, if this process sent it.
    pub fn sent(&mut self, sequence: u64) -> Option<&mut Message> {
        let index = sequence.checked_sub(self.first_sequence)?;
        self.messages.get_mut(usize::try_from(index).ok()?)
    }

    fn report(
        &mut self,
        name: &str,
        number: u64,
        bytes: &[u8],
        at: Nanos,
        restarts: &mut Restarts,
        faults: &mut Faults,
    ) {
        if self.reports == 0 {
            (self.first_report, self.next_report) = (number, number);
        }
        if number != self.next_report {
            faults.add(|| format!("{name}: report {number} out of turn"));
        }
        self.next_report = number + 1;
        self.reports += 1;
        let Ok(report) = Outbound::decode(bytes) else {
            faults.add(|| format!("{name}: report {number} cannot be read"));
            return;
        };
        let (urn, refused) = match report {
            Outbound::Accepted(m) => (m.urn, false),
            Outbound::Replaced(m) => (m.urn, false),
            Outbound::Rejected(m) => (m.urn, true),
            Outbound::Executed(m) => {
                self.executions.push((m.match_number.0, m.quantity.0));
                let order = self.order(m.urn);
                order.executed = order.executed.saturating_add(m.quantity.0);
                let (executed, entered) = (order.executed, order.entered);
                if order.sequence != 0 && executed > entered {
                    faults.add(|| {
                        format!("{name}: URN {} executed {executed} of {entered}", m.urn.0)
                    });
                }
                return;
            }
            _ => return,
        };
        let order = self.order(urn);
        order.answers = order.answers.saturating_add(1);
        let (answers, sent, ours) = (order.answers, order.sent, order.sequence != 0);
        if answers > 1 {
            faults.add(|| format!("{name}: URN {} was answered {answers} times", urn.0));
        }
        if refused {
            self.rejected += 1;
        } else {
            self.acknowledged += 1;
            if ours {
                restarts.acknowledged(sent, at);
            }
        }
    }

    fn conclude(&mut self, name: &str, sequence: u64, how: u8, again: bool, faults: &mut Faults) {
        self.transmitted_again += u64::from(again);
        self.not_applied += u64::from(how == b'N');
        if !matches!(how, b'R' | b'K' | b'N') {
            faults.add(|| format!("{name}: nobody knows what became of message {sequence}"));
        }
        let Some(message) = self.sent(sequence) else {
            faults.add(|| format!("{name}: message {sequence} was concluded and never sent"));
            return;
        };
        if std::mem::replace(&mut message.conclusion, how) != 0 {
            faults.add(|| format!("{name}: message {sequence} was concluded twice"));
        }
    }
}
