//! /proc/sys/fs/mqueue: the limits of POSIX message queues.

use super::{System, population, settings::numbers, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::Errno;
use core::{fmt::Write, ops::RangeInclusive};
use process::posix_queues::QueueLimits;

/// /proc/sys/fs/mqueue.
pub(super) static MQUEUE: Directory<System> = Directory {
    id: 6,
    lines: &[
        Line::setting(
            "msg_default",
            |_, out| show(out, |it| it.default_messages),
            |_, text| set(text, 1..=65_536, |limits, value| limits.default_messages = value),
        ),
        Line::setting(
            "msg_max",
            |_, out| show(out, |it| it.messages),
            |_, text| set(text, 1..=65_536, |limits, value| limits.messages = value),
        ),
        Line::setting(
            "msgsize_default",
            |_, out| show(out, |it| it.default_bytes),
            |_, text| set(text, 128..=16 << 20, |limits, value| limits.default_bytes = value),
        ),
        Line::setting(
            "msgsize_max",
            |_, out| show(out, |it| it.bytes),
            |_, text| set(text, 128..=16 << 20, |limits, value| limits.bytes = value),
        ),
        Line::setting(
            "queues_max",
            |_, out| show(out, |it| it.queues),
            |_, text| set(text, i32::MIN..=i32::MAX, |limits, value| limits.queues = value),
        ),
    ],
    children: None,
};

fn show(out: &mut String, of: fn(&QueueLimits) -> i32) -> Result<(), Errno> {
    written(writeln!(out, "{}", of(&population()?.posix_queues.limits())))
}

/// `EINVAL` no number in the range.
fn set(text: &[u8], range: RangeInclusive<i32>, set: fn(&mut QueueLimits, i32)) -> Result<(), Errno> {
    let queues = &population()?.posix_queues;
    let mut value = [*range.start()];
    numbers(text, &mut value)?;
    if !range.contains(&value[0]) {
        return Err(Errno::EINVAL);
    }
    let mut limits = queues.limits();
    set(&mut limits, value[0]);
    queues.set_limits(limits);
    Ok(())
}
