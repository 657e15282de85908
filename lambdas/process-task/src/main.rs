//! Works on tasks from the queue.

use std::process::ExitCode;

fn main() -> ExitCode {
    process_task::main()
}
