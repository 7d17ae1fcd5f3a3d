//! Privileges: what the running venue gives away once its sockets, program and logs are open.
//!
//! Consumes the directories that it will go on writing to. Three layers, each of which the kernel holds
//! against the process for good: no capability, no file outside those directories (Landlock), no system
//! call that a running venue does not make (seccomp). Capabilities and files belong to a thread and are
//! inherited: [`Sandbox::before_threads`] comes before the first thread. The filter covers all threads
//! that exist: [`Sandbox::after_threads`] comes behind the last one. Must not know agents.
//!
//! There is no way back, so a process inside can open no further day: a new day has new sockets.

mod calls;
mod probe;

pub use probe::{Attempt, attempts};

use crate::config::SandboxWish;
use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use std::path::{Path, PathBuf};

/// How far a layer holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layer {
    /// As meant.
    Full,
    /// The kernel is older than parts of it; what is missing.
    Partial(String),
    /// Not at all, and why.
    Missing(String),
}

impl Layer {
    /// For status.json and the log.
    pub fn text(&self) -> String {
        match self {
            Layer::Full => "full".into(),
            Layer::Partial(why) => format!("partial: {why}"),
            Layer::Missing(why) => format!("missing: {why}"),
        }
    }
}

/// Why the start ends here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// `sandbox = "on"`, and a layer does not hold.
    #[error(
        "[host] sandbox = \"on\", but {layer} {state}; `rialto doctor` shows what the kernel has, \
         sandbox = \"auto\" does with less"
    )]
    NotFull {
        /// Which.
        layer: &'static str,
        /// How it stands.
        state: String,
    },
    /// Without capabilities the venue may not write where it has to.
    #[error(
        "without privileges no file can be made in {}: {cause}; mend: chown the directory to the \
         user who runs the venue",
        dir.display()
    )]
    Directory {
        /// Where.
        dir: PathBuf,
        /// What the kernel said.
        cause: std::io::Error,
    },
}

/// The layers of this process, and how each stands.
#[derive(Clone, Debug)]
pub struct Sandbox {
    wish: SandboxWish,
    further: Vec<PathBuf>,
    capabilities: Layer,
    files: Layer,
    calls: Layer,
}

/// Kernel's file rights that the venue knows of: 6.12 and later have all of them.
const FILES_ABI: ABI = ABI::V6;

impl Sandbox {
    /// Not entered yet. `further`: directories beside the logs' that may be written to.
    pub fn new(wish: SandboxWish, further: Vec<PathBuf>) -> Sandbox {
        let not_yet = || Layer::Missing("not entered".into());
        Sandbox { wish, further, capabilities: not_yet(), files: not_yet(), calls: not_yet() }
    }

    /// Before the first thread: gives up every capability, and every file but those in `dirs`.
    /// Proves that files can still be made there.
    pub fn before_threads(&mut self, dirs: &[&Path]) -> Result<(), SandboxError> {
        if self.wish == SandboxWish::Off {
            return Ok(());
        }
        self.capabilities = capabilities();
        let further = self.further.iter().map(PathBuf::as_path);
        let all: Vec<&Path> = dirs.iter().copied().chain(further).collect();
        self.files = files(&all);
        for dir in all {
            writable(dir).map_err(|cause| SandboxError::Directory { dir: dir.into(), cause })?;
        }
        self.hold("dropping capabilities", &self.capabilities)?;
        self.hold("Landlock", &self.files)
    }

    /// Behind the last thread: from now on no thread makes a system call that is not on the list.
    pub fn after_threads(&mut self) -> Result<(), SandboxError> {
        if self.wish == SandboxWish::Off {
            return Ok(());
        }
        self.calls = match calls::apply() {
            Ok(()) => Layer::Full,
            Err(why) => Layer::Missing(why),
        };
        self.hold("seccomp", &self.calls)
    }

    /// Name and state of each layer.
    pub fn layers(&self) -> [(&'static str, &Layer); 3] {
        [
            ("capabilities", &self.capabilities),
            ("files", &self.files),
            ("system_calls", &self.calls),
        ]
    }

    /// Whether the process was to give anything away.
    pub fn is_wanted(&self) -> bool {
        self.wish != SandboxWish::Off
    }

    fn hold(&self, layer: &'static str, state: &Layer) -> Result<(), SandboxError> {
        match (self.wish, state) {
            (SandboxWish::On, Layer::Partial(_) | Layer::Missing(_)) => {
                Err(SandboxError::NotFull { layer, state: format!("is {}", state.text()) })
            }
            _ => Ok(()),
        }
    }
}

/// Empties all five sets of the calling thread, and has the kernel grant nothing by exec from now on.
fn capabilities() -> Layer {
    // SAFETY: plain integers; changes a flag of this thread only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Layer::Missing(std::io::Error::last_os_error().to_string());
    }
    // The bounding set takes CAP_SETPCAP to empty. Without it the set stays; with no_new_privs it
    // grants nothing any more.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        let _ = caps::clear(None, CapSet::Bounding); // as said
    }
    let sets = [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted];
    for set in sets {
        if let Err(error) = caps::clear(None, set) {
            return Layer::Missing(error.to_string());
        }
        match caps::read(None, set) {
            Ok(left) if left.is_empty() => {}
            Ok(left) => return Layer::Missing(format!("{left:?} are left")),
            Err(error) => return Layer::Missing(error.to_string()),
        }
    }
    Layer::Full
}

/// Shuts the calling thread and those that it will start out of every file but those below `dirs`, of
/// every TCP port, and from signalling other processes.
fn files(dirs: &[&Path]) -> Layer {
    let kinds = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSym;
    let unused = kinds | AccessFs::MakeSock | AccessFs::Execute | AccessFs::IoctlDev;
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(FILES_ABI))
        .and_then(|r| r.handle_access(AccessNet::from_all(FILES_ABI)))
        .and_then(|r| r.scope(Scope::from_all(FILES_ABI)))
        .and_then(|r| r.create())
        .and_then(|r| {
            r.add_rules(path_beneath_rules(dirs, AccessFs::from_all(FILES_ABI) & !unused))
        })
        .and_then(|r| r.restrict_self());
    match restricted.map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => Layer::Full,
        Ok(RulesetStatus::PartiallyEnforced) => {
            Layer::Partial("the kernel is older than 6.12 and knows fewer rights".into())
        }
        Ok(RulesetStatus::NotEnforced) => {
            Layer::Missing("the kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, lsm=)".into())
        }
        Err(error) => Layer::Missing(error.to_string()),
    }
}

fn writable(dir: &Path) -> std::io::Result<()> {
    let probe = dir.join(format!(".rialto-writable-{}", std::process::id()));
    std::fs::write(&probe, b"")?;
    std::fs::remove_file(&probe)
}

/// Gives up every capability and nothing else: for helpers that start programs.
pub fn drop_capabilities() -> Layer {
    capabilities()
}
