//! The kernel log: records of text, each with its time and priority. The last 128 KiB are kept for programs to read,
//! and what is urgent enough goes to the log port (standard error on the host) at once.
//!
//! Anybody may log, with any lock held and in an interrupt. Who reads is told by an interrupt of its own
//! ([`Handlers::log_grown`](crate::interrupts::Handlers::log_grown)), so that nothing is woken by somebody who logs.

mod ring;

pub use ring::{CAPACITY, Cursor, LONGEST, Record, Ring};

use core::{
    fmt,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

/// Writes one record to the kernel log that tells of something ordinary: subsystem first, values in it, no newline.
#[macro_export]
macro_rules! log {
    ($($argument:tt)*) => {
        $crate::log::write($crate::log::Priority::INFORMATION, ::core::format_args!($($argument)*))
    };
}

/// Writes one record to the kernel log that is shown whatever the console's level is.
#[macro_export]
macro_rules! log_urgent {
    ($($argument:tt)*) => {
        $crate::log::write($crate::log::Priority::EMERGENCY, ::core::format_args!($($argument)*))
    };
}

/// How urgent a record is and who wrote it: `syslog(3)`'s level in the low three bits, its facility above them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Priority(u16);

impl Priority {
    /// The kernel says that nothing works any more, or what must always be seen.
    pub const EMERGENCY: Self = Self(0);
    /// The kernel says what it does.
    pub const INFORMATION: Self = Self(6);
    /// The facility of programs.
    const USER: u16 = 1;

    /// What a program may say of itself: anything but that it is the kernel. Of a facility the low eight bits count.
    pub const fn of_program(number: u32) -> Self {
        let facility = (number >> 3) as u8 as u16;
        let facility = if facility == 0 { Self::USER } else { facility };
        Self(facility << 3 | number as u16 & 7)
    }

    /// The number in front of a record.
    pub const fn number(self) -> u16 {
        self.0
    }

    const fn level(self) -> i32 {
        (self.0 & 7) as i32
    }
}

/// Records of lower levels are shown on the port; 7 is all but those for finding errors.
static CONSOLE_LEVEL: AtomicI32 = AtomicI32::new(7);

/// The level below which records are shown on the log port.
pub fn console_level() -> i32 {
    CONSOLE_LEVEL.load(Relaxed)
}

/// Sets the level below which records are shown on the log port.
pub fn set_console_level(level: i32) {
    CONSOLE_LEVEL.store(level, Relaxed);
}

/// Writes a record; [`crate::log!`] is the short way to it. What is longer than [`LONGEST`] bytes is cut off.
pub fn write(priority: Priority, text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; LONGEST], length: 0 };
    // The line takes what fits; a value that fails to format itself is no reason to stop here.
    let _ = fmt::Write::write_fmt(&mut line, text);
    write_bytes(priority, &line.bytes[..line.length]);
}

/// Writes a record of any bytes, one newline at the end left out. What is longer than [`LONGEST`] is cut off.
pub fn write_bytes(priority: Priority, text: &[u8]) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let microseconds = crate::arch::log::with_ring(|ring| {
        let now = crate::time::now() / 1000;
        ring.push(now, priority.number(), text);
        now
    });
    if priority.level() < console_level() {
        for line in text.split(|&byte| byte == b'\n') {
            crate::arch::log::show(format_args!("{}", Stamp(microseconds)), line);
        }
    }
    crate::arch::log::tell_readers();
}

/// Copies the record at `cursor` and returns the place behind it; `None` if there is none yet. A place that was
/// overwritten stands for the oldest record, whose number then differs from the cursor's.
pub fn read(cursor: Cursor, record: &mut Record) -> Option<Cursor> {
    crate::arch::log::with_ring(|ring| ring.read(cursor, record))
}

/// The oldest record.
pub fn oldest() -> Cursor {
    crate::arch::log::with_ring(|ring| ring.oldest())
}

/// The place behind the newest record.
pub fn end() -> Cursor {
    crate::arch::log::with_ring(|ring| ring.end())
}

/// The time of a record as it stands in front of its lines.
pub struct Stamp(pub u64);

impl fmt::Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{:5}.{:06}] ", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// The text of a record while it is made.
struct Line {
    bytes: [u8; LONGEST],
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let count = text.len().min(LONGEST - self.length);
        self.bytes[self.length..self.length + count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_cannot_speak_as_the_kernel() {
        let number = |number| Priority::of_program(number).number();
        assert_eq!([number(3), number(8 + 3), number(0x18 + 7)], [8 + 3, 8 + 3, 0x18 + 7]);
        assert_eq!(number(0x800 + 5), 8 + 5, "a facility has eight bits");
    }

    #[test]
    fn a_record_is_kept_and_a_long_one_is_cut() {
        let from = end();
        write(Priority::INFORMATION, format_args!("{:2000}", "log: long"));
        write_bytes(Priority::of_program(4), b"two\nlines\n");
        let mut record = Record::new();
        let mut found = std::vec::Vec::new();
        let mut cursor = from;
        while let Some(next) = read(cursor, &mut record) {
            found.push((record.priority(), record.text().to_vec()));
            cursor = next;
        }
        assert!(found.iter().any(|(priority, text)| *priority == 6 && text.len() == LONGEST));
        assert!(found.contains(&(12, b"two\nlines".to_vec())));
    }
}
