//! `emulator up`: see the library.

fn main() {}
