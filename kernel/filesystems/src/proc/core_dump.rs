//! What decides about core dumps: /proc/sys/kernel/core_*, /proc/sys/fs/suid_dumpable, /proc/PID/coredump_filter.

use super::{System, files::number_in, settings::numbers, task::TaskFiles, written};
use crate::table::Line;
use alloc::string::String;
use base::{Errno, number};
use core::fmt::Write;
use process::core_dump::{self, Dumpable, Filter};

pub(super) const PATTERN: Line<System> = Line::setting(
    "core_pattern",
    |_, out| written(writeln!(out, "{}", String::from_utf8_lossy(&core_dump::shown_pattern()))),
    |_, text| {
        let end = text.iter().position(|&byte| byte == b'\n' || byte == 0).unwrap_or(text.len());
        core_dump::set_pattern(&text[..end]);
        Ok(())
    },
);
pub(super) const PIPE_LIMIT: Line<System> = Line::setting(
    "core_pipe_limit",
    |_, out| written(writeln!(out, "{}", core_dump::pipe_limit())),
    |_, text| number_in(text, 0..=i32::MAX as u64).map(|limit| core_dump::set_pipe_limit(limit as u32)),
);
pub(super) const USES_PID: Line<System> = Line::setting(
    "core_uses_pid",
    |_, out| written(writeln!(out, "{}", u8::from(core_dump::uses_pid()))),
    |_, text| {
        let mut value = [0];
        numbers(text, &mut value)?;
        core_dump::set_uses_pid(value[0] != 0);
        Ok(())
    },
);
pub(super) const PRIVILEGED: Line<System> = Line::setting(
    "suid_dumpable",
    |_, out| written(writeln!(out, "{}", core_dump::of_privileged() as u8)),
    |_, text| {
        let value = number_in(text, 0..=2).ok().and_then(Dumpable::new).ok_or(Errno::EINVAL)?;
        core_dump::set_of_privileged(value);
        Ok(())
    },
);
pub(super) const FILTER: Line<TaskFiles> = Line::setting("coredump_filter", filter, store_filter);

/// Nothing for who has no memory.
fn filter(files: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    let task = files.task()?;
    if task.space().is_err() {
        return Ok(());
    }
    written(writeln!(out, "{:08x}", task.process().core_filter().bits()))
}

/// `EINVAL` no number of 32 bits; `ESRCH` it has no memory. Bits that mean nothing are left out.
fn store_filter(files: &TaskFiles, text: &[u8]) -> Result<(), Errno> {
    let bits = u32::try_from(number::parse_unsigned(text)?).map_err(|_| Errno::ERANGE)?;
    let task = files.task()?;
    task.space().map_err(|_| Errno::ESRCH)?;
    task.process().set_core_filter(Filter::from_bits_truncate(bits));
    Ok(())
}
