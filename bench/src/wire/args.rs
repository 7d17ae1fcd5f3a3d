//! What `wire` and `sustain` are both told: where, how, and by which venue.

use std::path::PathBuf;

use clap::Args;
use rialto::net::xdp::PathWish;

use super::place::Cpus;
use super::rows::{Part, Plan};
use super::venue_program;

#[derive(Args)]
pub struct CommonArgs {
    /// Where the JSON goes, - for standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// CPU of the server's thread
    #[arg(long, default_value_t = 0, value_name = "N")]
    server_cpu: usize,
    /// CPU of the client's thread
    #[arg(long, default_value_t = 1, value_name = "N")]
    client_cpu: usize,
    /// SCHED_FIFO priority of both threads [default: ordinary scheduling]
    #[arg(long, value_name = "PRIORITY", value_parser = clap::value_parser!(i32).range(1..=98))]
    fifo: Option<i32>,
    /// Rungs of AF_XDP: af_xdp, af_xdp:native:copy, af_xdp:generic ...
    #[arg(long, default_value = "af_xdp", value_parser = rung)]
    path: PathWish,
    /// Sessions that share the orders, in pairs
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=250))]
    sessions: u32,
    /// The venue's binary [default: the one beside this, built anew when cargo runs this]
    #[arg(long, value_name = "FILE")]
    venue: Option<PathBuf>,
}

fn rung(text: &str) -> Result<PathWish, String> {
    match text.parse::<PathWish>()? {
        wish if wish.allows_udp() => Err("must be a rung of AF_XDP".into()),
        wish => Ok(wish),
    }
}

impl CommonArgs {
    /// Of these parts. Err: there is no binary of the venue.
    pub fn plan(&self, parts: Vec<Part>) -> Result<Plan, String> {
        let program = match &self.venue {
            Some(path) if path.is_file() => path.clone(),
            Some(path) => return Err(format!("--venue: {} is no file", path.display())),
            None => venue_program()?,
        };
        let cpus = Cpus { server: self.server_cpu, client: self.client_cpu, fifo: self.fifo };
        Ok(Plan { program, path: self.path, cpus, sessions: self.sessions & !1, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_no_rung() {
        assert_eq!(rung("af_xdp:generic"), Ok(PathWish::Generic));
        for wrong in ["udp", "auto", "xdp"] {
            assert!(rung(wrong).is_err(), "{wrong}");
        }
    }
}
