//! How many files may be open: in the whole machine (`file-max`), and in a process (`nr_open`).

use base::{
    Capabilities, Credentials, Errno,
    charge::{Charge, Price, Refused, Resource, Severity},
};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What an open file costs: with its inode and operations it has about so many bytes.
const PRICE: Price = &[(Resource::Files, 1), (Resource::KernelMemory, 512)];
const _: () = assert!(size_of::<crate::OpenFile>() <= 512);

/// The least that [`scale`] makes of the limit of the machine.
const LEAST_FILES: u64 = 8192;

static OPEN: AtomicU64 = AtomicU64::new(0);
static MOST_OPEN: AtomicU64 = AtomicU64::new(LEAST_FILES);
static MOST_DESCRIPTORS: AtomicU32 = AtomicU32::new(1 << 20);

/// How many files are open in the whole machine.
pub fn open_files() -> u64 {
    OPEN.load(Relaxed)
}

/// How many may be; the privileged may open more.
pub fn most_open_files() -> u64 {
    MOST_OPEN.load(Relaxed)
}

/// Sets how many files may be open in the whole machine.
pub fn set_most_open_files(most: u64) {
    MOST_OPEN.store(most, Relaxed);
}

/// As many files as take a tenth of so many pages of memory, at 1 KiB each.
pub(crate) fn scale(pages: u64) {
    set_most_open_files((pages * 4 / 10).max(LEAST_FILES));
}

/// One more than the largest descriptor that a process can have, whatever its limit.
#[inline]
pub fn most_descriptors() -> u64 {
    MOST_DESCRIPTORS.load(Relaxed).into()
}

/// Sets what a process can have. Descriptors that are in use stay.
pub fn set_most_descriptors(most: u32) {
    MOST_DESCRIPTORS.store(most, Relaxed);
}

/// The place of an open file among all of the machine, and what was paid for it; given back when dropped.
pub(crate) struct Admission {
    _charge: Option<Charge>,
    _place: Place,
}

struct Place;

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Relaxed);
    }
}

/// Counts one more open file, and has the running task's containers pay for it, before anything is done to make it.
/// `ENFILE` there are too many, or one of the containers refuses; the privileged may go up to its limit, others to the
/// barrier.
pub(crate) fn admit(credentials: &Credentials) -> Result<Admission, Errno> {
    let before = OPEN.fetch_add(1, Relaxed);
    let place = Place;
    let privileged = credentials.has(Capabilities::SYS_ADMIN);
    if before >= most_open_files() && !privileged {
        return Err(Errno::ENFILE);
    }
    let severity = if privileged { Severity::Limit } else { Severity::Barrier };
    let charge = memory::payer::take(PRICE, severity).map_err(|Refused| Errno::ENFILE)?;
    Ok(Admission { _charge: charge, _place: place })
}
