//! The worker that is wrong on purpose, as `TASKS_SABOTAGE` says. A binary of its own, so that building it never replaces
//! the stock one.

use std::process::ExitCode;

fn main() -> ExitCode {
    process_task::main()
}
