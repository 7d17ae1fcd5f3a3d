//! One integration binary; each module is a suite.

mod codecs;
mod golden;
mod broker;
mod tidy;
