//! The switch at run time: a file in the data directory, as the running venue has no other door.
//!
//! Whoever may write there asks by a file that holds `on` or `off`; the writer looks for it some times
//! a second, and removes it once it has done so. Must not know the command line.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Name of the request in the data directory.
pub const REQUEST_FILE: &str = "capture.request";

/// Longest request that is read.
const BYTES_MAX: u64 = 16;

/// The place of requests.
#[derive(Clone, Debug)]
pub struct Switch {
    data: PathBuf,
}

impl Switch {
    /// Requests in the directory `data`.
    pub fn new(data: PathBuf) -> Switch {
        Switch { data }
    }

    fn path(&self) -> PathBuf {
        self.data.join(REQUEST_FILE)
    }

    /// Asks for `on`. Whole or not at all for the reader; takes the place of an earlier request.
    pub fn ask(&self, on: bool) -> Result<()> {
        let temporary = self.data.join(format!(".{REQUEST_FILE}-{}", std::process::id()));
        // New: no link that somebody laid there is followed.
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        // The venue may run as another user, and may not care about our umask.
        let written = file
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| file.write_all(if on { b"on\n" } else { b"off\n" }))
            .and_then(|()| std::fs::rename(&temporary, self.path()));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary); // the first error is the one to tell
        }
        written
    }

    /// Whether a request waits.
    pub fn waits(&self) -> bool {
        self.path().exists()
    }

    /// Takes a request back; false when somebody has taken it.
    pub fn withdraw(&self) -> bool {
        std::fs::remove_file(self.path()).is_ok()
    }

    /// What is asked for, once; what says neither is removed and passed over.
    pub(super) fn take(&self) -> Option<bool> {
        use std::io::Read;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        // Neither a link nor a pipe may lead us elsewhere or hold us up.
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let mut text = String::new();
        match options.open(self.path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(_) => {}
            Ok(file) => {
                let _ = file.take(BYTES_MAX).read_to_string(&mut text); // what is not text says nothing
            }
        }
        self.withdraw();
        match text.trim() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once() {
        let home = tempfile::tempdir().unwrap();
        let switch = Switch::new(home.path().into());
        assert_eq!(switch.take(), None);
        for on in [true, false] {
            switch.ask(!on).unwrap();
            switch.ask(on).unwrap();
            assert!(switch.waits());
            assert_eq!(switch.take(), Some(on));
            assert!(!switch.waits());
            assert_eq!(switch.take(), None);
        }
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn nonsense_is_removed_and_links_are_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let switch = Switch::new(home.path().into());
        let target = home.path().join("target");
        for nonsense in [&b"maybe"[..], b"\xFF\xFE", b"on                                 ", b""] {
            std::fs::write(switch.path(), nonsense).unwrap();
            let taken = switch.take();
            assert!(taken.is_none() || nonsense.starts_with(b"on"), "{nonsense:?}");
            assert!(!switch.waits());
        }
        std::fs::write(&target, b"on").unwrap();
        std::os::unix::fs::symlink(&target, switch.path()).unwrap();
        assert_eq!(switch.take(), None);
        assert!(target.exists() && !switch.waits());
        switch.ask(true).unwrap();
        assert!(switch.withdraw() && !switch.withdraw());
    }
}
