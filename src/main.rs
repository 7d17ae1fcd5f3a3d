//! The `rialto` binary: arguments -> role. One file per command in `cli/`.

mod cli;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rialto: {error:#}");
            ExitCode::from(1)
        }
    }
}
