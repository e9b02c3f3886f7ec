//! Linux as the oracle: a short run of `cargo xtask fuzz --oracle` on machines of its own.

use std::time::Instant;

use anyhow::Result;

use super::report::Report;
use super::{USUAL, shape};
use crate::command_line::Test;
use crate::fuzz::{self, Verdict};

const SUITE: &str = "oracle";
const NAME: &str = "sequences-are-the-same-on-linux";

/// About 20 s on a host with nothing else to do.
const OPERATIONS: u64 = 1200;

/// Runs it, unless the filter or the machine says otherwise.
pub fn run(filter: &str, options: &Test, report: &mut Report) -> Result<()> {
    if !NAME.contains(filter) {
        return Ok(());
    }
    if shape(options, USUAL) != USUAL {
        report.skipped(SUITE, NAME, "it wants its own machine");
        return Ok(());
    }
    let started = Instant::now();
    match fuzz::short(OPERATIONS, options.debug)? {
        Err(reason) => report.skipped(SUITE, NAME, &reason),
        Ok(Verdict::Equal(_)) => report.passed(SUITE, NAME, Some(started.elapsed())),
        Ok(Verdict::Different(difference)) => report.failed(SUITE, NAME, &difference),
    }
    Ok(())
}
