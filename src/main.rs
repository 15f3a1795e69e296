//! The program: parse, dispatch, print an error with its hint, exit with the documented code.

mod allocator;

use clap::Parser;
use lorascope::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::set_up();
    let cli = lorascope::cli::Cli::parse();
    let json = cli.global.json;
    // A panic has been printed by its hook; here it gets the exit code of a bug.
    let done = catch_unwind(AssertUnwindSafe(|| {
        lorascope::cli::run(cli).and_then(|()| lorascope::cli::output::written())
    }));
    match done.unwrap_or_else(|_| Err(Error::internal("bug: the program stopped with a panic"))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            lorascope::cli::output::print_error(&error, json);
            ExitCode::from(error.kind.exit_code())
        }
    }
}
