//! A program on an interface, held by a descriptor.

use std::os::fd::{AsRawFd, OwnedFd};

use super::{Program, denied};
use crate::abi;
use crate::device::Interface;
use crate::error::{Error, Result};
use crate::sys;

/// Which hook of the interface runs the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attach {
    /// The driver's, before the kernel has made an skb.
    Native,
    /// The generic one: any interface, after the skb is made.
    Generic,
}

/// An attached program. Dropping it, or the end of the process in any way, detaches it.
#[derive(Debug)]
pub struct Link {
    _fd: OwnedFd,
    attach: Attach,
}

impl Link {
    /// Which hook runs the program.
    pub fn attach(&self) -> Attach {
        self.attach
    }
}

impl Program {
    /// Attaches the program to `interface` (of the calling thread's network namespace). Needs
    /// `CAP_NET_ADMIN` and Linux 5.9. A program that is being detached elsewhere is waited for,
    /// ten seconds.
    pub fn attach(&self, interface: &Interface, attach: Attach) -> Result<Link> {
        let mut attributes = abi::LinkCreate {
            prog_fd: self.program.as_raw_fd() as u32,
            target_ifindex: interface.index,
            attach_type: abi::BPF_ATTACH_TYPE_XDP,
            flags: match attach {
                Attach::Native => abi::XDP_FLAGS_DRV_MODE,
                Attach::Generic => abi::XDP_FLAGS_SKB_MODE,
            },
        };
        let result = sys::retry_busy(|| {
            // SAFETY: no addresses in these attributes.
            unsafe { sys::bpf_fd(abi::BPF_LINK_CREATE, &mut attributes) }
        });
        let fd = result.map_err(|error| {
            let name = interface.name.clone();
            match error.raw_os_error() {
                Some(libc::EPERM) => denied(error, "attaching an XDP program"),
                Some(libc::EBUSY | libc::EEXIST) => Error::ProgramBusy { interface: name },
                Some(libc::ENODEV) => Error::NoSuchInterface { interface: name },
                Some(libc::ERANGE) => {
                    Error::MtuTooLarge { interface: name, mtu: interface.mtu, max: None }
                }
                Some(libc::EOPNOTSUPP | libc::EINVAL) if attach == Attach::Native => {
                    Error::NativeUnsupported { interface: name, driver: interface.driver.clone() }
                }
                _ => Error::os("attaching an XDP program to", name, error),
            }
        })?;
        Ok(Link { _fd: fd, attach })
    }
}
