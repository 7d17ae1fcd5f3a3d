//! `rialto doctor`: every demand of the venue on its host, held against what the host is.
//!
//! Consumes a [`Surface`], facts of the [`Machine`] and the [`Needs`] of a configuration; produces
//! rows. Changes nothing. What cannot be read is said to be unreadable, and why; nothing is guessed.
//!
//! *fail*: the exchange as configured will not start, or breaks a promise of its configuration.
//! *warn*: it works, slower or with more jitter.

mod cpu;
mod interrupts;
mod kernel;
mod load;
mod memory;
mod network;
mod nic;
mod row;
mod time;

pub(super) use cpu::IDLE_EXIT_US_MAX;
pub use memory::size;
pub(super) use nic::ring_wanted;
pub use row::{Report, Row, State};

use super::cpus;
use super::machine::Machine;
use super::needs::Needs;
use super::surface::{Key, NicItem, Surface};

/// A host as seen for one configuration: what doctor and configure look at.
pub struct Host<'a> {
    pub(super) surface: &'a dyn Surface,
    pub(super) machine: &'a Machine,
    pub(super) needs: &'a Needs,
    /// CPUs online, ascending; empty when the host does not say.
    pub(super) online: Vec<usize>,
    /// Interface of orders and feed, or why there is none to look at.
    pub(super) interface: Result<String, String>,
}

impl<'a> Host<'a> {
    /// Looks which CPUs are online and which interface is the venue's.
    pub fn new(surface: &'a dyn Surface, machine: &'a Machine, needs: &'a Needs) -> Host<'a> {
        let online = surface.text("/sys/devices/system/cpu/online").ok();
        let online = online.and_then(|text| cpus::parse_list(&text)).unwrap_or_default();
        let mut host = Host { surface, machine, needs, online, interface: Err(String::new()) };
        host.interface = host.find_interface();
        host
    }

    fn find_interface(&self) -> Result<String, String> {
        let name = match (&self.needs.interface, self.machine.interface_of(self.needs.listen)) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => name.to_string(),
            (None, None) => {
                return Err(format!(
                    "no interface has the address {} of gateway.listen; name one with --interface",
                    self.needs.listen
                ));
            }
        };
        // ARPHRD_LOOPBACK, linux/if_arp.h.
        let kind = self.surface.text(&format!("/sys/class/net/{name}/type"));
        if name == "lo" || kind.is_ok_and(|kind| kind == "772") {
            return Err(format!("{name} is the loopback interface"));
        }
        Ok(name)
    }

    /// The kernel's command line, word by word.
    pub(super) fn command_line(&self) -> Result<Vec<String>, String> {
        let text = self.surface.text("/proc/cmdline").map_err(|e| e.to_string())?;
        Ok(text.split_whitespace().map(str::to_string).collect())
    }

    /// A value of the card, or why there is none.
    pub(super) fn card(&self, item: NicItem) -> Result<String, String> {
        let name = self.interface.clone()?;
        self.surface.read(&Key::Nic(name, item)).map_err(|reason| reason.to_string())
    }

    /// Interrupt numbers that have a directory of their own, ascending.
    pub(super) fn interrupts(&self) -> Vec<u32> {
        let names = self.surface.names("/proc/irq".as_ref());
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Value of `name=` on the kernel's command line.
    pub(super) fn boot_option(&self, name: &str) -> Result<Option<String>, String> {
        let words = self.command_line()?;
        Ok(words.iter().find_map(|word| {
            word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).map(str::to_string)
        }))
    }

    /// The application's CPUs, or why there are none to look at.
    pub(super) fn application(&self) -> Result<&[usize], String> {
        match self.needs.application.as_slice() {
            [] => Err("no [[thread]] of the configuration names a cpu".into()),
            cpus => Ok(cpus),
        }
    }
}

/// Every row. `measure_ns`: how long to watch the application's CPUs; 0 = not at all. Cost: that
/// time and a few hundred small files.
pub fn examine(surface: &dyn Surface, machine: &Machine, needs: &Needs, measure_ns: u64) -> Report {
    let host = Host::new(surface, machine, needs);
    let mut report = Report::default();
    report.group("cpus", cpu::rows(&host));
    report.group("kernel", kernel::rows(&host));
    report.group("interrupts", interrupts::rows(&host));
    report.group("memory", memory::rows(&host));
    report.group("network", network::rows(&host));
    report.group("card", nic::rows(&host));
    report.group("time", time::rows(&host));
    let (rows, hiccups) = load::rows(&host, measure_ns);
    report.group("interference now", rows);
    report.hiccups = hiccups;
    report
}

#[cfg(test)]
pub(super) mod tests;
