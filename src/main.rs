//! The binary: parse, run, exit code.

use std::process::ExitCode;

use attache::cli::{self, Command, output};

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let ended = match cli.command {
        Command::Serve(_) => Ok(()),
        command => {
            let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
            runtime.block_on(cli::run(command))
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
