//! Order flow from outside the venue: recorded (command CSV) or synthetic, for demo, load and test.
//!
//! Produces [`FlowCommand`]s in order of time; consumes a file or a seed. Must not know sessions,
//! OUCH or the exchange: whoever drives the flow translates it.

pub mod bbo;
pub mod csv;
pub mod synthetic;

mod book;
mod lines;
mod random;
mod schedule;
mod shape;

pub use bbo::{Bbo, BboReader};
pub use csv::{CommandReader, CommandWriter};
pub use lines::FlowFileError;
pub use synthetic::{SymbolFlow, Synthetic, SyntheticOptions, SyntheticOptionsError, Totals};

use crate::types::{Price, Quantity, Side};

/// What a command wants. The letters are those of the command CSV.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[repr(u8)]
pub enum FlowOp {
    /// New limit order that rests (day order).
    New = b'N',
    /// Cancel all that is left of the order.
    Cancel = b'C',
    /// Take `quantity` shares off the order; it keeps its place.
    Reduce = b'R',
    /// New immediate-or-cancel order.
    Immediate = b'I',
}

impl FlowOp {
    /// From the CSV's letter.
    pub fn from_letter(letter: u8) -> Option<FlowOp> {
        match letter {
            b'N' => Some(FlowOp::New),
            b'C' => Some(FlowOp::Cancel),
            b'R' => Some(FlowOp::Reduce),
            b'I' => Some(FlowOp::Immediate),
            _ => None,
        }
    }

    /// The CSV's letter.
    pub fn letter(self) -> u8 {
        self as u8
    }
}

/// One command of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowCommand {
    /// When: ns after midnight in a file, ns after the flow's start when synthetic. Never less
    /// than the command before.
    pub at_ns: u64,
    /// Index of the symbol, from 0; always 0 in a file, which holds one symbol.
    pub symbol: u16,
    /// What.
    pub op: FlowOp,
    /// New and Immediate: the new order's number, unique in the flow. Cancel and Reduce: the
    /// order meant.
    pub order_id: u64,
    /// Side of that order.
    pub side: Side,
    /// Limit of that order.
    pub price: Price,
    /// Shares: of the new order, to take off (Reduce), or thought to be left (Cancel).
    pub quantity: Quantity,
    /// Immediate only: the resting order that alone should fill it, in full. `None`: not known,
    /// several, or none.
    pub expect_resting: Option<u64>,
}
