//! A gate before the first cycle: no thread spins until all of them exist.
//!
//! A spinning thread that the kernel schedules first can keep a thread that is still to be made, or
//! the one that makes it, off the CPU for ever. So all of them wait here, asleep, until the gate opens.

use std::sync::{Condvar, Mutex, PoisonError};

/// Shut until [`Gate::open`]; then open for good.
#[derive(Default, Debug)]
pub struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Sleeps until it is open.
    pub fn pass(&self) {
        let mut is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn nobody_passes_before_it_opens() {
        let gate = Arc::new(Gate::default());
        let opened = Arc::new(AtomicBool::new(false));
        let (other_gate, other_opened) = (gate.clone(), opened.clone());
        let thread = std::thread::spawn(move || {
            other_gate.pass();
            other_opened.load(Ordering::Acquire)
        });
        opened.store(true, Ordering::Release);
        gate.open();
        assert!(thread.join().unwrap(), "it passed a gate that was shut");
        gate.pass();
    }
}
