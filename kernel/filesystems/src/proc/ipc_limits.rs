//! The limits of System V objects in /proc/sys/kernel.

use super::{System, population, settings::numbers, written};
use crate::table::Line;
use alloc::string::String;
use base::{Errno, number};
use core::fmt::{Display, Write};
use process::{
    ipc::{messages::MessageLimits, semaphores::SemaphoreLimits},
    shared_memory::SegmentLimits,
};

/// The most objects of a kind that can be allowed (Linux's `IPCMNI`).
const MOST_OBJECTS: i32 = 32_768;

pub(super) const MSGMAX: Line<System> = Line::setting(
    "msgmax",
    |_, out| show(out, population()?.messages.limits().message),
    |_, text| set_messages(text, i32::MAX, |limits, value| limits.message = value),
);
pub(super) const MSGMNB: Line<System> = Line::setting(
    "msgmnb",
    |_, out| show(out, population()?.messages.limits().queue),
    |_, text| set_messages(text, i32::MAX, |limits, value| limits.queue = value),
);
pub(super) const MSGMNI: Line<System> = Line::setting(
    "msgmni",
    |_, out| show(out, population()?.messages.limits().queues),
    |_, text| set_messages(text, MOST_OBJECTS, |limits, value| limits.queues = value),
);
pub(super) const SEM: Line<System> = Line::setting("sem", show_semaphores, store_semaphores);
pub(super) const SHMALL: Line<System> = Line::setting(
    "shmall",
    |_, out| show(out, population()?.shared_memory.limits().pages),
    |_, text| set_segments(|limits| parse(text).map(|value| limits.pages = value)),
);
pub(super) const SHMMAX: Line<System> = Line::setting(
    "shmmax",
    |_, out| show(out, population()?.shared_memory.limits().largest),
    |_, text| set_segments(|limits| parse(text).map(|value| limits.largest = value)),
);
pub(super) const SHMMNI: Line<System> = Line::setting(
    "shmmni",
    |_, out| show(out, population()?.shared_memory.limits().segments),
    |_, text| set_segments(|limits| count(text, MOST_OBJECTS).map(|value| limits.segments = value)),
);

fn show(out: &mut String, value: impl Display) -> Result<(), Errno> {
    written(writeln!(out, "{value}"))
}

fn parse(text: &[u8]) -> Result<u64, Errno> {
    number::parse_unsigned(core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?).map_err(|_| Errno::EINVAL)
}

/// A number from 0 to `most`. `EINVAL`.
fn count(text: &[u8], most: i32) -> Result<i32, Errno> {
    i32::try_from(parse(text)?).ok().filter(|&value| value <= most).ok_or(Errno::EINVAL)
}

fn set_messages(text: &[u8], most: i32, set: fn(&mut MessageLimits, i32)) -> Result<(), Errno> {
    let (messages, value) = (&population()?.messages, count(text, most)?);
    let mut limits = messages.limits();
    set(&mut limits, value);
    messages.set_limits(limits);
    Ok(())
}

fn set_segments(set: impl FnOnce(&mut SegmentLimits) -> Result<(), Errno>) -> Result<(), Errno> {
    let segments = &population()?.shared_memory;
    let mut limits = segments.limits();
    set(&mut limits)?;
    segments.set_limits(limits);
    Ok(())
}

fn show_semaphores(_: &System, out: &mut String) -> Result<(), Errno> {
    let SemaphoreLimits { per_set, all, per_call, sets } = population()?.semaphores.limits();
    written(writeln!(out, "{per_set}\t{all}\t{per_call}\t{sets}"))
}

/// Up to four numbers; those that are not given stay.
fn store_semaphores(_: &System, text: &[u8]) -> Result<(), Errno> {
    let semaphores = &population()?.semaphores;
    let SemaphoreLimits { per_set, all, per_call, sets } = semaphores.limits();
    let mut values = [per_set, all, per_call, sets];
    numbers(text, &mut values)?;
    let [per_set, all, per_call, sets] = values;
    if !(0..=MOST_OBJECTS).contains(&sets) {
        return Err(Errno::EINVAL);
    }
    semaphores.set_limits(SemaphoreLimits { per_set, all, per_call, sets });
    Ok(())
}
