//! The kernel log as programs have it: who may read it, what `syslog(2)` has consumed, what was cleared, which levels
//! the console shows. `machine::log` keeps the records; `/dev/kmsg` and `/proc/kmsg` show them by what is here.

mod reader;
mod text;

pub use reader::{LogReader, LogState};
pub use text::write_record;

use alloc::vec::Vec;
use base::{Capabilities, Credentials, Errno};
use core::sync::atomic::{
    AtomicBool, AtomicI32,
    Ordering::{Relaxed, SeqCst},
};
use machine::{
    log::{self, Cursor, Record},
    sync::{SpinLock, rank},
};
use sched::WaitQueue;
use text::{syslog_length, syslog_text};

/// The kernel log of the running system.
pub static KERNEL_LOG: KernelLog = KernelLog::new();

/// The level that the console has at boot, the fourth number of `/proc/sys/kernel/printk`.
const BOOT_LEVEL: i32 = 7;
/// No level was put by when the console was switched off.
const NOTHING_SAVED: i32 = -1;

/// What a program wants of the log, as far as rights go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogUse {
    /// Read what is kept, or ask how much can be: for everybody, unless `dmesg_restrict` is set.
    Look,
    /// Consume, clear, and set the console's level.
    Change,
}

/// Takes bytes of a text, with the number of those that came before.
pub type Put<'a> = dyn FnMut(usize, &[u8]) -> Result<(), Errno> + 'a;

/// State of the log besides its records.
pub struct KernelLog {
    /// Woken when there is a new record.
    news: WaitQueue,
    unread: SpinLock<Unread>,
    cleared: SpinLock<Cursor>,
    restricted: AtomicBool,
    /// The level of what programs write without saying one.
    message_level: AtomicI32,
    /// The lowest that the console's level can be set to.
    least_level: AtomicI32,
    boot_level: AtomicI32,
    saved_level: AtomicI32,
}

/// What `SYSLOG_ACTION_READ` has not consumed.
struct Unread {
    next: Cursor,
    /// Bytes of the next record's text that were read already.
    done: usize,
}

impl KernelLog {
    const fn new() -> Self {
        Self {
            news: WaitQueue::new(),
            unread: SpinLock::new(rank::FILE_STATE, Unread { next: Cursor::START, done: 0 }),
            cleared: SpinLock::new(rank::FILE_STATE, Cursor::START),
            restricted: AtomicBool::new(false),
            message_level: AtomicI32::new(4),
            least_level: AtomicI32::new(1),
            boot_level: AtomicI32::new(BOOT_LEVEL),
            saved_level: AtomicI32::new(NOTHING_SAVED),
        }
    }

    /// Whether `who` may do this with the log. `EPERM` without CAP_SYSLOG (or, as of old, CAP_SYS_ADMIN).
    pub fn check(&self, wanted: LogUse, who: &Credentials) -> Result<(), Errno> {
        let free = wanted == LogUse::Look && !self.restricted();
        let allowed = free || who.has(Capabilities::SYSLOG) || who.has(Capabilities::SYS_ADMIN);
        if allowed { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Whether only the privileged may read it (`/proc/sys/kernel/dmesg_restrict`).
    pub fn restricted(&self) -> bool {
        self.restricted.load(Relaxed)
    }

    /// Lets only the privileged read it, or everybody.
    pub fn set_restricted(&self, restricted: bool) {
        self.restricted.store(restricted, Relaxed);
    }

    /// Wakes those who wait for records. From the interrupt that the machine sends when the log has grown.
    pub fn tell_readers(&self) {
        self.news.wake_all();
    }

    /// `SYSLOG_ACTION_READ`: hands the text of records that nobody has consumed to `put`, with the number of bytes
    /// before it, and consumes them; up to `room` bytes, which is not 0. A text that is longer comes in parts. Sleeps
    /// until there is one. Errors: `EINTR`; that of the first `put`. Returns the bytes.
    pub fn consume(&self, room: usize, put: &mut Put<'_>) -> Result<usize, Errno> {
        let first = self.news.wait_until_interruptible(|| self.take(room, true), None).map_err(|_| Errno::EINTR)?;
        put(0, &first)?;
        let mut done = first.len();
        while let Some(text) = self.take(room - done, false)
            && put(done, &text).is_ok()
        {
            done += text.len();
        }
        Ok(done)
    }

    /// Consumes the next text if it fits into `room` bytes, or as much of it as does.
    fn take(&self, room: usize, in_parts: bool) -> Option<Vec<u8>> {
        let mut record = Record::new();
        let mut unread = self.unread.lock();
        let next = unread.look(&mut record)?;
        let mut text = syslog_text(&record).split_off(unread.done);
        if text.len() <= room {
            *unread = Unread { next, done: 0 };
        } else if in_parts {
            text.truncate(room);
            unread.done += room;
        } else {
            return None;
        }
        Some(text)
    }

    /// `SYSLOG_ACTION_SIZE_UNREAD`: how many bytes can be consumed without sleeping.
    pub fn unread_bytes(&self) -> usize {
        let mut record = Record::new();
        let mut unread = self.unread.lock();
        let (mut bytes, mut cursor) = (0, unread.look(&mut record));
        while let Some(next) = cursor {
            bytes += syslog_length(&record);
            cursor = log::read(next, &mut record);
        }
        bytes - unread.done
    }

    /// Whether anything can be consumed; has `watch` asked to watch for more.
    pub fn has_unread(&self, watch: impl FnOnce(&WaitQueue)) -> bool {
        watch(&self.news);
        self.unread.lock().look(&mut Record::new()).is_some()
    }

    /// `SYSLOG_ACTION_READ_ALL`: hands the texts of the newest records since the log was cleared, as many as fit into
    /// `room` bytes, to `put` with the number of bytes before each. `clear` clears the log up to there. Errors: that of
    /// `put`, and nothing is cleared. Returns the bytes.
    pub fn read_all(&self, room: usize, clear: bool, put: &mut Put<'_>) -> Result<usize, Errno> {
        let (start, end) = (*self.cleared.lock(), log::end());
        let mut record = Record::new();
        let mut bytes = 0;
        each_record(start, end, &mut record, |record| {
            bytes += syslog_length(record);
            Ok(())
        })?;
        let mut done = 0;
        each_record(start, end, &mut record, |record| {
            if bytes > room {
                bytes -= syslog_length(record);
                return Ok(());
            }
            let text = syslog_text(record);
            // Records that were overwritten meanwhile were counted and do not come: it can only be less.
            put(done, &text)?;
            done += text.len();
            Ok(())
        })?;
        if clear {
            *self.cleared.lock() = end;
        }
        Ok(done)
    }

    /// `SYSLOG_ACTION_CLEAR`: the records up to now are no longer shown by [`read_all`](Self::read_all).
    pub fn clear(&self) {
        *self.cleared.lock() = log::end();
    }

    /// `SYSLOG_ACTION_CONSOLE_OFF`: shows only the most urgent on the console.
    pub fn console_off(&self) {
        let now = log::console_level();
        let _ = self.saved_level.compare_exchange(NOTHING_SAVED, now, SeqCst, Relaxed);
        log::set_console_level(self.least_level.load(Relaxed));
    }

    /// `SYSLOG_ACTION_CONSOLE_ON`: shows what was shown before the console was switched off.
    pub fn console_on(&self) {
        let saved = self.saved_level.swap(NOTHING_SAVED, SeqCst);
        if saved != NOTHING_SAVED {
            log::set_console_level(saved);
        }
    }

    /// `SYSLOG_ACTION_CONSOLE_LEVEL`: shows what is more urgent than `level`, 1 to 8. `EINVAL`.
    pub fn set_console_level(&self, level: i32) -> Result<(), Errno> {
        if !(1..=8).contains(&level) {
            return Err(Errno::EINVAL);
        }
        self.saved_level.store(NOTHING_SAVED, SeqCst);
        log::set_console_level(level.max(self.least_level.load(Relaxed)));
        Ok(())
    }

    /// The four numbers of `/proc/sys/kernel/printk`: the console's level, that of messages without one, the lowest of
    /// the console, the one at boot.
    pub fn levels(&self) -> [i32; 4] {
        let [message, least, boot] =
            [&self.message_level, &self.least_level, &self.boot_level].map(|it| it.load(Relaxed));
        [log::console_level(), message, least, boot]
    }

    /// Sets them.
    pub fn set_levels(&self, [console, message, least, boot]: [i32; 4]) {
        log::set_console_level(console);
        self.message_level.store(message, Relaxed);
        self.least_level.store(least, Relaxed);
        self.boot_level.store(boot, Relaxed);
    }
}

impl Unread {
    /// The next record and the place behind it. One of which a part was read may be gone; then the next is whole.
    fn look(&mut self, record: &mut Record) -> Option<Cursor> {
        let next = log::read(self.next, record)?;
        if record.at() != self.next {
            *self = Self { next: record.at(), done: 0 };
        }
        Some(next)
    }
}

/// Calls `each` with the records from `start` to `end`, one after the other in `record`.
fn each_record(
    start: Cursor,
    end: Cursor,
    record: &mut Record,
    mut each: impl FnMut(&Record) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut cursor = start;
    while cursor.sequence() < end.sequence()
        && let Some(next) = log::read(cursor, record)
        && record.at().sequence() < end.sequence()
    {
        each(record)?;
        cursor = next;
        sched::give_way();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
