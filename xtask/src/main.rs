//! The one tool that a person runs.
#![forbid(unsafe_code)]

fn main() {}
