//! What the kernel log tells of filtered calls: one line each, as Linux's audit writes it (type 1326).

use super::facts::ARCHITECTURE;
use crate::task::Task;
use alloc::string::String;
use core::fmt::{self, Display};
use machine::{
    sync::{SpinLock, rank},
    user::UserContext,
};
use vfs::Timestamp;

/// A program can make calls without end, so no more lines than these are written in so many nanoseconds (`printk_ratelimit`).
const MOST: u32 = 10;
const SPAN: u64 = 5_000_000_000;

static WRITTEN: SpinLock<Written> = SpinLock::new(rank::LEAF, Written { since: 0, lines: 0, left_out: 0, serial: 0 });

/// What was written lately.
struct Written {
    since: u64,
    lines: u32,
    left_out: u32,
    serial: u64,
}

impl Written {
    /// The number of the next line, and how many were left out before it; `None` it is left out too.
    fn next(&mut self, now: u64) -> Option<(u64, u32)> {
        let mut left_out = 0;
        if now.saturating_sub(self.since) >= SPAN {
            self.since = now;
            self.lines = 0;
            left_out = core::mem::take(&mut self.left_out);
        }
        if self.lines == MOST {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        self.serial += 1;
        Some((self.serial, left_out))
    }
}

/// Writes a line about the call that `context` describes: the signal that it ended with, if any, and the verdict.
pub(super) fn write(task: &Task, context: &UserContext, signal: u8, code: u32) {
    let next = WRITTEN.lock().next(machine::time::now());
    let Some((serial, left_out)) = next else { return };
    if left_out > 0 {
        machine::log!("audit: {left_out} lines left out");
    }
    let time = Timestamp::now();
    let who = task.credentials();
    let program = task.process().program();
    let path = program.map(|program| program.file.path(None)).unwrap_or_default();
    machine::log!(
        "audit: type=1326 audit({}.{:03}:{serial}): auid=4294967295 uid={} gid={} ses=4294967295 pid={} comm={} exe={} \
         sig={signal} arch={ARCHITECTURE:x} syscall={} compat=0 ip={:#x} code={code:#x}",
        time.seconds,
        time.nanoseconds / 1_000_000,
        who.uid,
        who.gid,
        task.pid(),
        Text(task.name().as_bytes()),
        Text(&path),
        context.call as i32,
        context.registers.rip,
    );
}

/// A text that a program chose: in quotes, or in hexadecimal where it could be taken for something else.
struct Text<'a>(&'a [u8]);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: &u8| (0x21..=0x7e).contains(byte) && *byte != b'"';
        if self.0.iter().all(is_plain) {
            write!(out, "\"{}\"", String::from_utf8_lossy(self.0))
        } else {
            self.0.iter().try_for_each(|byte| write!(out, "{byte:02X}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn a_program_cannot_make_up_fields() {
        assert_eq!(format!("{}", Text(b"cat")), "\"cat\"");
        assert_eq!(format!("{}", Text(b"a sig=9")), "61207369673D39");
        assert_eq!(format!("{}", Text(b"\"")), "22");
    }

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let mut written = Written { since: 0, lines: 0, left_out: 0, serial: 0 };
        let told = (0..25).filter(|_| written.next(SPAN).is_some()).count();
        assert_eq!(told, MOST as usize);
        assert_eq!(written.next(SPAN * 2), Some((11, 15)));
        assert_eq!(written.next(SPAN * 2), Some((12, 0)));
    }
}
