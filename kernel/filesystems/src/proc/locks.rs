//! /proc/locks, and the lines about locks in `fdinfo`.

use super::{System, written};
use alloc::string::String;
use base::Errno;
use core::fmt::Write;
use vfs::lock::{self, LeaseState, LockKind, LockRow, LockWhat};

/// All locks, with those who wait for each behind it.
pub(super) fn locks(_: &System, out: &mut String) -> Result<(), Errno> {
    let mut number = 0;
    for row in lock::rows()? {
        if !row.waits {
            number += 1;
        }
        write_row(out, number, &row)?;
    }
    Ok(())
}

/// One row, as Linux writes it.
pub(super) fn write_row(out: &mut String, number: u32, row: &LockRow) -> Result<(), Errno> {
    // More than any row.
    out.try_reserve(128).map_err(|_| Errno::ENOMEM)?;
    let arrow = if row.waits { "-> " } else { "" };
    let what = match row.what {
        LockWhat::OfProcess => "POSIX  ADVISORY  ",
        LockWhat::OfFile => "OFDLCK ADVISORY  ",
        LockWhat::Whole => "FLOCK  ADVISORY  ",
        LockWhat::Lease(LeaseState::Active) => "LEASE  ACTIVE    ",
        LockWhat::Lease(LeaseState::Breaking) => "LEASE  BREAKING  ",
    };
    let kind = match row.kind {
        Some(LockKind::Exclusive) => "WRITE",
        Some(LockKind::Shared) => "READ",
        None => "UNLCK",
    };
    let (device, range) = (row.device, row.range);
    written(write!(
        out,
        "{number}: {arrow}{what}{kind} {} {:02x}:{:02x}:{} ",
        row.process, device.major, device.minor, row.inode
    ))?;
    written(match range.end {
        u64::MAX => writeln!(out, "{} EOF", range.start),
        end => writeln!(out, "{} {end}", range.start),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Pid;
    use vfs::{DeviceNumber, lock::Range};

    #[test]
    fn rows_look_as_on_linux() {
        let first = LockRow {
            what: LockWhat::OfProcess,
            kind: Some(LockKind::Exclusive),
            process: Pid::new(77),
            device: DeviceNumber::new(0, 26),
            inode: 5678,
            range: Range { start: 10, end: 19 },
            waits: false,
        };
        let waits = LockRow { range: Range::ALL, waits: true, ..first };
        let lease = LockRow { what: LockWhat::Lease(LeaseState::Breaking), kind: None, range: Range::ALL, ..first };
        let mut out = String::new();
        for (number, row) in [(1, first), (1, waits), (2, lease)] {
            write_row(&mut out, number, &row).unwrap();
        }
        assert_eq!(
            out,
            "1: POSIX  ADVISORY  WRITE 77 00:1a:5678 10 19\n1: -> POSIX  ADVISORY  WRITE 77 00:1a:5678 0 EOF\n\
             2: LEASE  BREAKING  UNLCK 77 00:1a:5678 0 EOF\n"
        );
    }
}
