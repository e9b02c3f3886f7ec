//! The two forms of a record: that of `syslog(2)`, `<6>[    1.234567] text`, and that of `/dev/kmsg`,
//! `6,12,1234567,-;text` (Documentation/ABI/testing/dev-kmsg).

use super::KERNEL_LOG;
use alloc::{format, vec::Vec};
use core::fmt::{self, Write};
use machine::log::{self, Priority, Record, Stamp};

/// The text of a record for `syslog(2)`: each of its lines with priority and time in front.
pub(super) fn syslog_text(record: &Record) -> Vec<u8> {
    let prefix = format!("<{}>{}", record.priority(), Stamp(record.microseconds()));
    let mut out = Vec::with_capacity(prefix.len() + record.text().len() + 1);
    for line in record.text().split(|&byte| byte == b'\n') {
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out
}

/// The bytes of [`syslog_text`].
pub(super) fn syslog_length(record: &Record) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            Ok(())
        }
    }
    let mut prefix = Count(0);
    // Counting can't fail.
    let _ = write!(prefix, "<{}>{}", record.priority(), Stamp(record.microseconds()));
    let lines = 1 + record.text().iter().filter(|&&byte| byte == b'\n').count();
    // A line feed is there for each line but the last, which gets one.
    lines * prefix.0 + record.text().len() + 1
}

/// The record as a line of `/dev/kmsg`. What is not printable ASCII, and the backslash, is `\x` and two digits.
pub(super) fn device_text(record: &Record) -> Vec<u8> {
    let (priority, sequence, time) = (record.priority(), record.at().sequence(), record.microseconds());
    let mut out = format!("{priority},{sequence},{time},-;").into_bytes();
    for &byte in record.text() {
        match byte {
            b'\\' | 0..b' ' | 127.. => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'\n');
    out
}

/// What a program says with what it writes: priority and text. A decimal number in angle brackets in front is the
/// priority; without it the facility is that of programs and the level `without`.
pub(super) fn program_record(text: &[u8], without: i32) -> (Priority, &[u8]) {
    let given = || {
        let rest = text.strip_prefix(b"<")?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let text = rest[end..].strip_prefix(b">")?;
        let digit = |number: u32, byte: &u8| number.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
        let number = rest[..end].iter().fold(0, digit);
        Some((Priority::of_program(number), text))
    };
    given().unwrap_or((Priority::of_program(without as u32), text))
}

/// Enters what a program writes to `/dev/kmsg`.
pub fn write_record(text: &[u8]) {
    let [_, level, ..] = KERNEL_LOG.levels();
    let (priority, text) = program_record(text, level);
    log::write_bytes(priority, text);
}
