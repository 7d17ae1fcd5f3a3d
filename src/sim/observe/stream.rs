//! Stream: contents under numbers from 1, as seen on the wire and as the log gives them.
//!
//! Consumes both, in any order; produces what contradicts: two contents under one number, something
//! that left and does not stand in the log.

/// Contents under numbers from 1.
#[derive(Default)]
pub struct Stream {
    /// What the log gives, from number 1.
    told: Vec<Box<[u8]>>,
    /// What was seen before the log gave it: number - 1 -> bytes.
    early: Vec<Option<Box<[u8]>>>,
    /// Highest number seen.
    seen: u64,
}

/// Two contents under one number.
pub type Conflict = String;

impl Stream {
    /// Bytes seen under `number`.
    pub fn see(&mut self, number: u64, bytes: &[u8]) -> Result<(), Conflict> {
        if number == 0 || number > 1 << 32 {
            return Err(format!("number {number} is no number of this stream"));
        }
        self.seen = self.seen.max(number);
        let at = number as usize - 1;
        if let Some(told) = self.told.get(at) {
            return same(number, "the log", told, bytes);
        }
        if self.early.len() <= at {
            self.early.resize(at + 1, None);
        }
        match &self.early[at] {
            Some(before) => same(number, "seen before", before, bytes),
            None => {
                self.early[at] = Some(bytes.into());
                Ok(())
            }
        }
    }

    /// The log gives `bytes` as the next number.
    pub fn tell(&mut self, bytes: Vec<u8>) -> Result<(), Conflict> {
        let at = self.told.len();
        self.told.push(bytes.into());
        match self.early.get_mut(at).and_then(Option::take) {
            Some(seen) => same(at as u64 + 1, "the log", &self.told[at], &seen),
            None => Ok(()),
        }
    }

    /// Numbers that the log gives.
    pub fn told(&self) -> u64 {
        self.told.len() as u64
    }

    /// What the log gives under `number`.
    pub fn get(&self, number: u64) -> Option<&[u8]> {
        self.told.get((number as usize).checked_sub(1)?).map(|b| &**b)
    }

    /// Something left that the log does not have.
    pub fn beyond(&self) -> Result<(), Conflict> {
        if self.seen <= self.told() {
            return Ok(());
        }
        Err(format!("number {} was seen, the log ends at {}", self.seen, self.told()))
    }
}

fn same(number: u64, whose: &str, expected: &[u8], got: &[u8]) -> Result<(), Conflict> {
    if expected == got {
        return Ok(());
    }
    Err(format!("number {number}: {whose}: {}, now: {}", hex(expected), hex(got)))
}

/// Bytes for a message.
pub fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(80).map(|b| format!("{b:02x}")).collect();
    if bytes.len() > 80 { format!("{shown}... ({} bytes)", bytes.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contradiction_shows() {
        let mut stream = Stream::default();
        assert!(stream.see(2, b"b").is_ok() && stream.see(2, b"b").is_ok());
        assert!(stream.see(2, b"c").is_err(), "two contents before the log is read");
        assert!(stream.beyond().is_err());
        assert!(stream.tell(b"a".to_vec()).is_ok());
        assert!(stream.tell(b"x".to_vec()).is_err(), "the log gives something else");
        assert!(stream.see(1, b"a").is_ok() && stream.see(1, b"b").is_err());
        assert!(stream.see(0, b"a").is_err() && stream.beyond().is_ok());
    }
}
