//! `rialto configure`: tunes the host while it runs, and gives everything back.

use super::doctor::HostArguments;
use super::text::say;
use anyhow::bail;
use clap::{Args, Subcommand};
use rialto::config::HOST_STATE;
use rialto::host::Live;
use rialto::host::configure::{
    Change, FileKeeper, Keeper, Outcome, STAGES, Stage, check, fini, init,
};
use rialto::host::doctor::Host;
use rialto::host::machine::Machine;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  rialto configure check                     what init would change
  rialto configure init --interface eth1
  rialto configure init --stage sysctl --stage irq-affinity
  rialto configure fini                      every value as it was before the first init";

/// Tunes what can be tuned while the host runs, stage by stage, and gives every value back
///
/// Old values are on disk before the first one is changed, so `fini` restores them whatever happened in
/// between; a second `init` keeps the first one's. A stage is applied whole or not at all. What this
/// host does not have is told and is no error. The kernel command line is not touched: see
/// sysconfig/README.md. Changing queues or rings of a card may take its link down for some seconds.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Tells what `init` would change; exit code 1 when there is anything
    Check(Options),
    /// Writes down what is, then applies; exit code 1 when a stage could not be
    Init(Options),
    /// Restores every value written down, and compares; exit code 1 when one does not go back
    Fini(Options),
}

#[derive(Args, Debug)]
struct Options {
    #[command(flatten)]
    host: HostArguments,
    /// Only this stage; may be given several times
    #[arg(long, value_name = "NAME", value_parser = stage_name)]
    stage: Vec<String>,
    /// File of the old values, instead of [host] state
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

fn stage_name(name: &str) -> Result<String, String> {
    if STAGES.iter().any(|stage| stage.name == name) {
        return Ok(name.to_string());
    }
    let known: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
    Err(format!("the stages are: {}", known.join(", ")))
}

impl Options {
    fn stages(&self) -> Vec<Stage> {
        STAGES.into_iter().filter(|stage| self.has(stage.name)).collect()
    }

    fn has(&self, stage: &str) -> bool {
        self.stage.is_empty() || self.stage.iter().any(|name| name == stage)
    }
}

pub fn run(a: Arguments) -> anyhow::Result<ExitCode> {
    match a.verb {
        Verb::Check(options) => run_check(&options),
        Verb::Init(options) => run_init(&options),
        Verb::Fini(options) => run_fini(&options),
    }
}

fn run_check(o: &Options) -> anyhow::Result<ExitCode> {
    let (config, needs) = o.host.needs()?;
    let (surface, machine) = (Live::host(), Machine::here(&needs.hot, &needs.data));
    let outcomes = check(&Host::new(&surface, &machine, &needs), &o.stages());
    outcomes.iter().for_each(|outcome| tell(outcome, "to change"));
    let state = o.state.as_ref().unwrap_or(&config.host.state);
    if state.exists() {
        say!("old values are kept in {}: `rialto configure fini` restores them", state.display());
    }
    let open = outcomes.iter().any(|outcome| !outcome.changed.is_empty());
    Ok(ExitCode::from(u8::from(open)))
}

fn run_init(o: &Options) -> anyhow::Result<ExitCode> {
    let (config, needs) = o.host.needs()?;
    let (surface, machine) = (Live::host(), Machine::here(&needs.hot, &needs.data));
    root_only(machine.user)?;
    let state = o.state.as_ref().unwrap_or(&config.host.state);
    let keeper = FileKeeper::open(state)?;
    let outcomes = init(&Host::new(&surface, &machine, &needs), &keeper, &o.stages())?;
    outcomes.iter().for_each(|outcome| tell(outcome, "changed"));
    tell_state(&keeper, state)?;
    Ok(verdict(&outcomes, "was not applied"))
}

fn run_fini(o: &Options) -> anyhow::Result<ExitCode> {
    // A configuration that has a fault by now must not keep the old values from coming back.
    let state = match (&o.state, o.host.needs()) {
        (Some(state), _) => state.clone(),
        (None, Ok((config, _))) => config.host.state,
        (None, Err(error)) if Path::new(HOST_STATE).exists() => {
            eprintln!("rialto: {error:#}\nthe old values are taken from {HOST_STATE}");
            HOST_STATE.into()
        }
        (None, Err(error)) => {
            return Err(
                error.context("where the old values are is not known: --state FILE names it")
            );
        }
    };
    root_only(Machine::here(Path::new("/"), Path::new("/")).user)?;
    if !state.exists() {
        say!("nothing to restore: there is no {}", state.display());
        return Ok(ExitCode::SUCCESS);
    }
    let keeper = FileKeeper::open(&state)?;
    let outcomes = fini(&Live::host(), &keeper, |stage| o.has(stage))?;
    if outcomes.is_empty() {
        say!("nothing to restore: the values of {} are of an earlier boot", state.display());
    }
    outcomes.iter().for_each(|outcome| tell(outcome, "restored"));
    tell_state(&keeper, &state)?;
    Ok(verdict(&outcomes, "was not restored"))
}

fn root_only(user: u32) -> anyhow::Result<()> {
    if user != 0 {
        bail!(
            "the host's settings belong to root: run it with sudo, or by rialto-configure.service"
        );
    }
    Ok(())
}

fn tell_state(keeper: &FileKeeper, state: &Path) -> anyhow::Result<()> {
    match keeper.load()? {
        Some(record) => say!("{} old values in {}", record.entries.len(), state.display()),
        None => say!("no old values are kept"),
    }
    Ok(())
}

fn tell(outcome: &Outcome, word: &str) {
    say!(
        "{}: {} {word}, {} as wanted, {} not available here",
        outcome.stage,
        outcome.changed.len(),
        outcome.kept,
        outcome.unavailable.len()
    );
    for Change { key, from, to } in &outcome.changed {
        say!("  {key}: {from} -> {to}");
    }
    for (what, why) in &outcome.unavailable {
        match why.starts_with(what.as_str()) {
            true => say!("  not available: {why}"),
            false => say!("  not available: {what}: {why}"),
        }
    }
}

fn verdict(outcomes: &[Outcome], what: &str) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for outcome in outcomes.iter().filter(|outcome| !outcome.faults.is_empty()) {
        code = ExitCode::from(1);
        for fault in &outcome.faults {
            eprintln!("rialto: stage {} {what}: {fault}", outcome.stage);
        }
    }
    code
}
