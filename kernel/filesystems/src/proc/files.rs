//! /proc/sys/fs: how many files there are and may be (Documentation/admin-guide/sysctl/fs.rst).

use super::{System, core_dump, mqueue, population, settings::numbers, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::{Errno, number};
use core::{
    fmt::{Display, Write},
    ops::RangeInclusive,
};
use vfs::{
    lock::lease,
    notice, pipe,
    watch_limits::{EPOLL_WATCHES, INOTIFY_EVENTS, INOTIFY_INSTANCES, INOTIFY_WATCHES},
};

/// What fits into a signed number of 64 bits.
const LONG: RangeInclusive<u64> = 0..=i64::MAX as u64;
/// What fits into one of 32 bits.
const INT: RangeInclusive<u64> = 0..=i32::MAX as u64;
/// What `nr_open` may be.
const DESCRIPTORS: RangeInclusive<u64> = 64..=0x7fff_ffc0;

/// A number of 32 bits. `EINVAL`.
fn int(text: &[u8]) -> Result<i32, Errno> {
    let mut value = [0];
    numbers(text, &mut value)?;
    if text.is_empty() { Err(Errno::EINVAL) } else { Ok(value[0]) }
}

/// /proc/sys/fs.
pub(super) static FS: Directory<System> = Directory {
    id: 5,
    lines: &[
        Line::setting(
            "aio-max-nr",
            |_, out| show(out, population()?.aio.most()),
            |_, text| {
                population()?.aio.set_most(number_in(text, 0..=u64::MAX)?);
                Ok(())
            },
        ),
        Line::text("aio-nr", |_, out| show(out, population()?.aio.requests())),
        Line::setting(
            "dir-notify-enable",
            |_, out| show(out, u8::from(notice::directories_enabled())),
            |_, text| int(text).map(|on| notice::enable_directories(on != 0)),
        ),
        Line::directory("epoll", &EPOLL),
        Line::setting(
            "file-max",
            |_, out| show(out, vfs::most_open_files()),
            |_, text| number_in(text, LONG).map(vfs::set_most_open_files),
        ),
        Line::text("file-nr", |_, out| show(out, format_args!("{}\t0\t{}", vfs::open_files(), vfs::most_open_files()))),
        Line::text("inode-nr", |_, out| show(out, format_args!("{}\t0", vfs::ramfs::inodes()))),
        Line::text("inode-state", |_, out| show(out, format_args!("{}\t0\t0\t0\t0\t0\t0", vfs::ramfs::inodes()))),
        Line::directory("inotify", &INOTIFY),
        Line::setting(
            "lease-break-time",
            |_, out| show(out, lease::patience()),
            |_, text| int(text).map(lease::set_patience),
        ),
        Line::setting(
            "leases-enable",
            |_, out| show(out, u8::from(lease::enabled())),
            |_, text| int(text).map(|on| lease::enable(on != 0)),
        ),
        Line::setting("mount-max", super::mounts::most, super::mounts::set_most),
        Line::directory("mqueue", &mqueue::MQUEUE),
        Line::setting(
            "nr_open",
            |_, out| show(out, vfs::most_descriptors()),
            |_, text| number_in(text, DESCRIPTORS).map(|most| vfs::set_most_descriptors(most as u32)),
        ),
        Line::setting(
            "pipe-max-size",
            |_, out| show(out, pipe::most_bytes()),
            |_, text| pipe::set_most_bytes(number_in(text, 0..=u64::MAX)?),
        ),
        Line::setting(
            "pipe-user-pages-hard",
            |_, out| show(out, pipe::user_pages().hard),
            |_, text| set_user_pages(text, |limits, pages| limits.hard = pages),
        ),
        Line::setting(
            "pipe-user-pages-soft",
            |_, out| show(out, pipe::user_pages().soft),
            |_, text| set_user_pages(text, |limits, pages| limits.soft = pages),
        ),
        core_dump::PRIVILEGED,
    ],
    children: None,
};

static EPOLL: Directory<System> = Directory {
    id: 8,
    lines: &[Line::setting(
        "max_user_watches",
        |_, out| show(out, EPOLL_WATCHES.get()),
        |_, text| number_in(text, LONG).map(|most| EPOLL_WATCHES.set(most)),
    )],
    children: None,
};

static INOTIFY: Directory<System> = Directory {
    id: 9,
    lines: &[
        Line::setting(
            "max_queued_events",
            |_, out| show(out, INOTIFY_EVENTS.get()),
            |_, text| number_in(text, INT).map(|most| INOTIFY_EVENTS.set(most)),
        ),
        Line::setting(
            "max_user_instances",
            |_, out| show(out, INOTIFY_INSTANCES.get()),
            |_, text| number_in(text, INT).map(|most| INOTIFY_INSTANCES.set(most)),
        ),
        Line::setting(
            "max_user_watches",
            |_, out| show(out, INOTIFY_WATCHES.get()),
            |_, text| number_in(text, INT).map(|most| INOTIFY_WATCHES.set(most)),
        ),
    ],
    children: None,
};

fn show(out: &mut String, value: impl Display) -> Result<(), Errno> {
    written(writeln!(out, "{value}"))
}

/// A number in the range. `EINVAL`.
pub(super) fn number_in(text: &[u8], range: RangeInclusive<u64>) -> Result<u64, Errno> {
    number::parse_unsigned(text).ok().filter(|value| range.contains(value)).ok_or(Errno::EINVAL)
}

fn set_user_pages(text: &[u8], set: fn(&mut pipe::UserPages, u64)) -> Result<(), Errno> {
    let mut limits = pipe::user_pages();
    set(&mut limits, number_in(text, 0..=u64::MAX)?);
    pipe::set_user_pages(limits);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(number_in(b"64", DESCRIPTORS), Ok(64));
        for wrong in ["63", "2147483585", "", "x", "-1", "99999999999999999999"] {
            assert_eq!(number_in(wrong.as_bytes(), DESCRIPTORS), Err(Errno::EINVAL));
        }
        assert_eq!(number_in(b"0x7fffffffffffffff", LONG), Ok(i64::MAX as u64));
        assert_eq!(number_in(b"9223372036854775808", LONG), Err(Errno::EINVAL));
    }
}
