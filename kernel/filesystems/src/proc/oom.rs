//! /proc/PID/oom_score and oom_score_adj: how gladly a process is killed when memory runs out.

use super::{task::TaskFiles, written};
use alloc::string::String;
use base::{Errno, number::parse_signed};
use core::fmt::Write;

/// The score as it is now.
pub(super) fn score(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    written(writeln!(out, "{}", process::oom::shown_score(task.process())))
}

/// The adjustment.
pub(super) fn adjustment(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    written(writeln!(out, "{}", files.task()?.process().oom_score_adj()))
}

/// Sets the adjustment. `EINVAL` no number from -1000 to 1000; `EACCES` see [`process::oom::adjust`].
pub(super) fn store_adjustment(files: &TaskFiles, text: &[u8]) -> Result<(), Errno> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let number = parse_signed(text.trim()).ok().and_then(|number| i32::try_from(number).ok()).ok_or(Errno::EINVAL)?;
    let writer = process::current().ok_or(Errno::ESRCH)?;
    process::oom::adjust(files.task()?.process(), number, &writer.credentials())
}
