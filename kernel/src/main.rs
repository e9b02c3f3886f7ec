//! The kernel binary.
#![forbid(unsafe_code)]

fn main() {}
