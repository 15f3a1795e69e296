//! The program: parse, dispatch, print an error with its hint, exit with the documented code.

mod allocator;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::set_up();
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
