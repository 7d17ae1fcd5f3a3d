//! SIGINT and SIGTERM in a demo: it stops, ends its children and takes its directories away.

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which signal came, once one has. Whoever waits for something asks.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// From now on the signals are told here. More of them change nothing: whoever starts us may
    /// signal both the process and its group.
    pub fn watch() -> anyhow::Result<Interrupt> {
        let came = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_usize(signal, came.clone(), signal as usize)
                .context("signals cannot be caught")?;
        }
        Ok(Interrupt(came))
    }

    /// The signal that came.
    pub fn signal(&self) -> Option<u8> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            signal => Some(signal as u8),
        }
    }

    /// Error once a signal has come: leaves whatever waits.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.signal() {
            None => Ok(()),
            Some(_) => bail!("interrupted"),
        }
    }
}
