//! The program: parse, dispatch, print an error with its hint, exit with the documented code.

use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = lorascope::cli::Cli::parse();
    let json = cli.global.json;
    match lorascope::cli::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            lorascope::cli::output::print_error(&error, json);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
