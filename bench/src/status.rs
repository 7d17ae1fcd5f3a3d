//! What a running venue says of itself (`status.json`) after one has asked.

use std::path::Path;
use std::time::Duration;

use rialto::clock::{Clock, SystemClock};
use serde_json::Value;

/// Longest wait; it is written every 200 ms.
const PATIENCE_NS: u64 = 60_000_000_000;

/// The status file, written after this call began. Err: none comes.
pub fn anew(path: &Path) -> Result<Value, String> {
    let (clock, file) = (SystemClock::new(), path.display());
    let written = || std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let begun = clock.now();
    let mut last = written();
    // Twice: the first may have been under way.
    for _ in 0..2 {
        while written() == last {
            if clock.now().since(begun) > PATIENCE_NS {
                return Err(format!("{file} stands still"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        last = written();
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("read {file}: {e}"))?;
    serde_json::from_str(&text).map_err(|e| format!("{file}: {e}"))
}
