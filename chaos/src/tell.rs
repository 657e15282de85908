//! What is printed: that nobody can read it must not end what is under way, nor change how a command exits.

use std::fmt::Display;
use std::io::Write;

/// A line on standard output.
pub(crate) fn out(line: impl Display) {
    writeln!(std::io::stdout(), "{line}").ok();
}

/// A line on standard error.
pub(crate) fn err(line: impl Display) {
    writeln!(std::io::stderr(), "{line}").ok();
}
