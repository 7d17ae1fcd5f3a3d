//! One integration binary; each module is a suite.

mod alloc;
mod attack;
mod audit;
mod broker;
mod capture;
mod codecs;
mod counting;
mod feed;
mod golden;
mod host;
mod hostile;
mod journeys;
mod ladder;
mod lives;
mod model;
mod mutate;
mod nic;
mod pace;
mod planted;
mod restart;
mod roll;
mod snapshot;
mod sim;
mod tidy;
mod venue;
