//! `rialto man` and `rialto completions`: what a package puts beside the binary.

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes the manual pages, one per command, into a directory
#[derive(Args, Debug)]
pub struct ManArguments {
    /// Directory; made when missing
    dir: PathBuf,
}

pub fn man(a: ManArguments) -> anyhow::Result<ExitCode> {
    let at = || format!("manual pages in {}", a.dir.display());
    std::fs::create_dir_all(&a.dir).with_context(at)?;
    clap_mangen::generate_to(super::Arguments::command(), &a.dir).with_context(at)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a script with which a shell completes commands and options
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  rialto completions bash > ~/.local/share/bash-completion/completions/rialto
  rialto completions zsh > ~/.zfunc/_rialto
  rialto completions fish > ~/.config/fish/completions/rialto.fish")]
pub struct CompletionArguments {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

pub fn completions(a: CompletionArguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(a.shell, &mut super::Arguments::command(), "rialto", &mut script);
    super::text::say!("{}", String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}
