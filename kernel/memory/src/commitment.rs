//! How much memory is promised to programs, and how much may be: overcommit (proc(5), `/proc/sys/vm/overcommit_memory`).
//!
//! What counts are private areas that were ever writable, without MAP_NORESERVE, and shared memory without a file from
//! when it is made. Pages of files on memory file systems do not count.

use base::charge::Refused;
use core::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use machine::cpu;
use machine::sync::Hook;

/// Whether more is promised than there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Overcommit {
    /// Only what is more than all memory at once is refused.
    Guess = 0,
    /// Nothing is refused.
    Always = 1,
    /// All promises together are kept.
    Never = 2,
}

impl Overcommit {
    /// The value with this number.
    pub const fn new(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Guess),
            1 => Some(Self::Always),
            2 => Some(Self::Never),
            _ => None,
        }
    }
}

/// Who may have what is left for the privileged (CAP_SYS_ADMIN).
pub trait Privilege: Sync {
    /// Whether the running task may.
    fn is_privileged(&self) -> bool;
}

/// Who tells it; installed at boot. Until then all are privileged.
pub static PRIVILEGE: Hook<dyn Privilege> = Hook::new();

/// A setting: its value in KiB, or in percent for the ratio.
pub struct Setting(AtomicU64);

impl Setting {
    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

static MODE: AtomicU8 = AtomicU8::new(Overcommit::Guess as u8);
static RATIO: Setting = Setting(AtomicU64::new(50));
static KIBIBYTES: Setting = Setting(AtomicU64::new(0));
/// `admin_reserve_kbytes`: what is left for the privileged under [`Overcommit::Never`].
pub static ADMIN_RESERVE: Setting = Setting(AtomicU64::new(8 << 10));
/// `user_reserve_kbytes`: what a single process leaves for others, at most a thirty-second of its size.
pub static USER_RESERVE: Setting = Setting(AtomicU64::new(128 << 10));

/// Makes the reserves no larger than a thirty-second of `free` pages. Once, at boot.
pub fn scale_reserves(free: u64) {
    for reserve in [&ADMIN_RESERVE, &USER_RESERVE] {
        reserve.set(reserve.get().min(free * 4 / 32));
    }
}

const STRIPES: usize = 16;

/// A part of the count on a line of its own, so that CPUs seldom write the same one.
#[repr(align(64))]
struct Stripe(AtomicI64);

static COMMITTED: [Stripe; STRIPES] = [const { Stripe(AtomicI64::new(0)) }; STRIPES];

/// The mode now.
pub fn mode() -> Overcommit {
    Overcommit::new(MODE.load(Relaxed).into()).unwrap_or(Overcommit::Guess)
}

/// Sets the mode. What was promised stays.
pub fn set_mode(mode: Overcommit) {
    MODE.store(mode as u8, Relaxed);
}

/// `overcommit_ratio`: percent of memory; 0 if a size was set.
pub fn ratio() -> u64 {
    RATIO.get()
}

/// Sets that, in place of a size.
pub fn set_ratio(percent: u64) {
    RATIO.set(percent);
    KIBIBYTES.set(0);
}

/// `overcommit_kbytes`; 0 if the ratio counts.
pub fn kibibytes() -> u64 {
    KIBIBYTES.get()
}

/// Sets that, in place of the ratio.
pub fn set_kibibytes(size: u64) {
    KIBIBYTES.set(size);
    RATIO.set(0);
}

/// The most pages that are promised under [`Overcommit::Never`] (CommitLimit).
pub fn limit() -> u64 {
    limit_of(crate::frames::installed(), KIBIBYTES.get(), RATIO.get())
}

fn limit_of(total: u64, kibibytes: u64, percent: u64) -> u64 {
    if kibibytes > 0 { kibibytes / 4 } else { (u128::from(total) * u128::from(percent) / 100) as u64 }
}

/// The pages that are promised (Committed_AS).
pub fn committed() -> u64 {
    COMMITTED.iter().map(|stripe| stripe.0.load(Relaxed)).sum::<i64>().max(0) as u64
}

fn add(pages: i64) {
    COMMITTED[cpu::current().index() % STRIPES].0.fetch_add(pages, Relaxed);
}

/// Promises so many pages to the running task, whose address space has `mapped` pages; [`give_back`] takes them back.
#[inline]
pub(crate) fn take(pages: u64, mapped: u64) -> Result<(), Refused> {
    if pages == 0 {
        return Ok(());
    }
    add(pages as i64);
    let fits = match mode() {
        Overcommit::Guess => pages <= crate::frames::installed(),
        Overcommit::Always => true,
        Overcommit::Never => {
            let privileged = PRIVILEGE.get().is_none_or(|hook| hook.is_privileged());
            committed() < allowed(limit(), if privileged { 0 } else { ADMIN_RESERVE.get() }, USER_RESERVE.get(), mapped)
        }
    };
    if fits {
        Ok(())
    } else {
        give_back(pages);
        Err(Refused)
    }
}

/// The pages that may be promised in all: Linux's `__vm_enough_memory`. The reserves are in KiB.
fn allowed(limit: u64, for_privileged: u64, for_others: u64, mapped: u64) -> u64 {
    limit.saturating_sub(for_privileged / 4).saturating_sub((mapped / 32).min(for_others / 4))
}

/// Promises a forked child so many pages of several areas, none of which is too large by itself.
pub(crate) fn for_child(pages: u64, mapped: u64) -> Result<Commitment, Refused> {
    if mode() == Overcommit::Never {
        take(pages, mapped)?;
    } else {
        add(pages as i64);
    }
    Ok(Commitment(pages))
}

/// Takes promised pages back.
pub(crate) fn give_back(pages: u64) {
    if pages > 0 {
        add(-(pages as i64));
    }
}

/// Pages that are promised as long as this lives.
#[derive(Debug, Default)]
pub struct Commitment(u64);

impl Commitment {
    /// Promises them to the running task.
    pub fn new(pages: u64) -> Result<Self, Refused> {
        take(pages, 0).map(|()| Self(pages))
    }

    /// How many they are.
    pub(crate) fn pages(&self) -> u64 {
        self.0
    }

    /// They stay promised, and somebody else takes them back.
    pub(crate) fn keep(mut self) {
        self.0 = 0;
    }
}

impl Drop for Commitment {
    fn drop(&mut self) {
        give_back(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_a_share_of_memory_or_a_size() {
        assert_eq!(limit_of(1000, 0, 50), 500);
        assert_eq!(limit_of(1000, 0, 250), 2500, "more than there is");
        assert_eq!(limit_of(1000, 4096, 50), 1024);
        assert_eq!(limit_of(1000, 0, 0), 0);
    }

    #[test]
    fn something_is_left_for_the_privileged_and_for_others() {
        assert_eq!(allowed(10_000, 0, 128 << 10, 0), 10_000);
        assert_eq!(allowed(10_000, 8 << 10, 128 << 10, 3200), 10_000 - 2048 - 100);
        assert_eq!(allowed(100_000, 0, 128 << 10, 32_000_000), 100_000 - 32_768, "at most that");
        assert_eq!(allowed(10, 8 << 10, 0, 0), 0);
    }

    #[test]
    fn what_is_more_than_all_memory_is_refused_and_not_counted() {
        crate::tests::start();
        let total = crate::frames::installed();
        assert!(Commitment::new(total + 1).is_err());
        assert!(Commitment::new(total).is_ok());
    }
}
