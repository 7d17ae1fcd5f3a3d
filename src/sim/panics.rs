//! Panics inside a simulation: kept for the violation instead of printed.

use std::cell::RefCell;
use std::panic;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic of this process is not printed, but remembered by its thread with its place.
/// For the program that simulates and nothing else.
pub fn capture_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
        LAST.with(|last| *last.borrow_mut() = place);
    }));
}

/// Where the last panic of this thread was, when panics are captured.
pub(super) fn last_place() -> Option<String> {
    LAST.with(|last| last.borrow_mut().take())
}
