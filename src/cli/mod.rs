//! Commands of the binary. Each file holds one: its arguments, its help with examples, its verb.

#[cfg(feature = "planted-bugs")]
mod bugs;
mod alarms;
mod audit;
mod capture;
mod config;
mod configure;
mod demo;
mod doctor;
mod feed;
mod fill;
mod keeper;
mod log;
mod man;
mod mirror;
mod order;
mod record;
mod replay;
mod run;
mod shadow;
mod sim;
mod status;
mod text;
mod witness;
mod void;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A stock exchange as one appliance.
///
/// Start with `rialto demo`: it sets up everything and shows the whole journey of an order.
#[derive(Parser, Debug)]
#[command(name = "rialto", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::Arguments),
    Run(run::Arguments),
    /// Checks a configuration, or tells every fault in it
    Config(config::Arguments),
    Order(order::Arguments),
    Feed(feed::Arguments),
    Replay(replay::Arguments),
    Log(log::Arguments),
    Sim(sim::Arguments),
    Audit(audit::Arguments),
    Shadow(shadow::Arguments),
    Void(void::Arguments),
    Doctor(doctor::Arguments),
    Configure(configure::Arguments),
    Capture(capture::Arguments),
    Completions(man::CompletionArguments),
    #[command(hide = true)]
    Man(man::ManArguments),
    #[command(hide = true)]
    Keeper(keeper::Arguments),
    #[command(hide = true)]
    Mirror(mirror::Arguments),
    #[command(hide = true)]
    Witness(witness::Arguments),
    #[command(hide = true)]
    Fill(fill::Arguments),
}

/// Runs the command asked for.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Demo(a) => demo::run(a),
        Command::Run(a) => run::run(a),
        Command::Config(a) => config::run(a),
        Command::Order(a) => order::run(a),
        Command::Feed(a) => feed::run(a),
        Command::Replay(a) => replay::run(a),
        Command::Log(a) => log::run(a),
        Command::Sim(a) => sim::run(a),
        Command::Audit(a) => audit::run(a),
        Command::Void(a) => void::run(a),
        Command::Doctor(a) => doctor::run(a),
        Command::Configure(a) => configure::run(a),
        Command::Capture(a) => capture::run(a),
        Command::Completions(a) => man::completions(a),
        Command::Man(a) => man::man(a),
        Command::Mirror(a) => mirror::run(a),
        Command::Witness(a) => witness::run(a),
        Command::Shadow(a) => shadow::run(a),
        Command::Keeper(a) => keeper::run(a),
        Command::Fill(a) => fill::run(a),
    }
}
