//! Address spaces.
//!
//! An [`AddressSpace`] is a map of areas, which says what may be where, and page tables, which say what is there.
//! Pages come with the first access: `fault` resolves what the hardware reports.
//!
//! Two locks: the areas' (sleeping; faults share it, changes have it alone), then the page tables' (spinning, short;
//! never held while a page is waited for or zeroed). A fault that finds that another thread of the space was faster
//! is done: the access is tried again and faults again if it must. Sources are let go only after the areas' lock is
//! free, since closing a file takes locks that come before it.

mod advice;
mod ahead;
mod around;
mod brk;
mod copies;
mod cut;
mod dump;
mod fault;
mod forced;
mod foreign;
mod fork;
mod lock;
mod map;
mod migrate;
mod payment;
mod policy;
mod remap;
mod request;
#[cfg(test)]
pub(crate) mod tests;
mod weights;

pub use advice::Advice;
pub use ahead::{AheadMode, ahead_mode, set_ahead_mode};
pub use copies::RangePages;
pub use cut::cut;
pub use lock::LockAll;
pub use migrate::{Movable, Moved};
pub use policy::{BindRequest, policy_range};
pub use request::{Limits, MapRequest, Place};
pub use weights::{RangeWeights, SHARE_UNITS};

use crate::area::{Area, AreaFlags, AreaInfo, Areas, Backing, PAGE, Sharing, Taken};
use crate::frames;
use crate::placement;
use alloc::sync::Arc;
use base::charge::{Payer, Resource, Severity};
use base::{CpuSet, Errno};
use core::any::Any;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use machine::frame::Block;
use machine::paging::{PageCounts, PageKind, PageTables, TableSource, USER_END};
use machine::sync::{ReadGuard, RwLock, SpinLock, WriteGuard, rank};
use payment::{Pages, Paid};

/// What a task was about to do when a page fault stopped it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Load.
    Read,
    /// Store.
    Write,
    /// Fetch an instruction.
    Execute,
}

/// Why a page fault can't be resolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultError {
    /// Nothing is mapped there: SIGSEGV, SEGV_MAPERR.
    NotMapped,
    /// The area forbids it: SIGSEGV, SEGV_ACCERR.
    NoAccess,
    /// Beyond the end of the mapped file, or it can't be read: SIGBUS, BUS_ADRERR.
    BeyondEnd,
    /// No frame to be had: somebody is killed.
    OutOfMemory,
    /// The containers don't pay for a page of its tables: SIGKILL.
    NotPaid,
}

/// Pages by kind and size of areas, for `/proc/<pid>/{stat,statm,status}`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Resident {
    /// RssAnon, pages.
    pub anonymous: u64,
    /// RssFile, pages.
    pub file: u64,
    /// RssShmem, pages.
    pub shared: u64,
    /// Highest sum of the three so far (VmHWM), pages.
    pub peak: u64,
    /// VmSize, pages.
    pub mapped: u64,
    /// Private writable areas without the stack (VmData), pages.
    pub data: u64,
    /// Stack (VmStk), pages.
    pub stack: u64,
    /// Executable file areas (VmExe and VmLib), pages.
    pub text: u64,
    /// Page-table pages (VmPTE).
    pub tables: u64,
    /// Locked areas (VmLck), pages.
    pub locked: u64,
}

/// What identifies a futex word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Location {
    /// A word of this address space only.
    Private {
        /// The address.
        address: u64,
    },
    /// A word of something that several address spaces can map.
    Shared {
        /// [`crate::PageSource::identity`].
        source: u64,
        /// Offset in it, bytes.
        offset: u64,
    },
}

/// No area may begin below: a null pointer with a small offset must fault.
pub const LOWEST: u64 = 0x1_0000;

/// Bytes that stay free below a stack.
const STACK_GUARD: u64 = 256 * PAGE;

/// Bytes kept for a stack below the top even if its limit is smaller.
const LEAST_STACK: u64 = 128 << 20;

static MOST_AREAS: AtomicU32 = AtomicU32::new(65_530);

/// The most areas that a space may have.
pub fn most_areas() -> usize {
    MOST_AREAS.load(Relaxed) as usize
}

/// Sets that. Areas that there are stay.
pub fn set_most_areas(most: u32) {
    MOST_AREAS.store(most, Relaxed);
}

/// The user half of what a process sees as memory. Shared by its threads, each on its CPU.
///
/// Locks: all methods but `activate` and the counts take the address space's sleeping lock, faults and readers
/// shared, changes exclusive. Call with no spinning lock held.
///
/// The containers that the task was in that made the space pay for it; see [`crate::payer`].
pub struct AddressSpace {
    tables: Arc<PageTables>,
    state: RwLock<State>,
    counts: Counts,
    paid: Paid,
    /// Whether no page comes in ahead.
    small_pages_only: AtomicBool,
    companion: SpinLock<Option<Companion>>,
}

/// What a floor above keeps with an address space, and which ends with it.
pub type Companion = Arc<dyn Any + Send + Sync>;

/// What the areas' lock guards.
struct State {
    areas: Areas,
    /// Where the heap begins; 0 until exec has set it.
    brk_start: u64,
    /// Where the heap ends, to the byte.
    brk_end: u64,
    /// Where `mmap` looks for room, from above.
    top: u64,
    /// What `mlockall` wants of areas that come later.
    later: AreaFlags,
}

/// Resident pages, and who pays for them.
struct Counts {
    payer: Option<Arc<dyn Payer>>,
    anonymous: AtomicU64,
    file: AtomicU64,
    shared: AtomicU64,
    peak: AtomicU64,
}

/// Gives frames for page tables.
struct Tables;

impl TableSource for Tables {
    fn table(&self) -> Result<Block, Errno> {
        frames::allocate_table(&placement::kernel())
    }
}

impl AddressSpace {
    /// An empty address space. `stack_limit` (RLIMIT_STACK) sets how far below the top `mmap` starts.
    ///
    /// Errors: `ENOMEM`, also if the running task's containers don't pay for it.
    pub fn new(stack_limit: u64) -> Result<Arc<Self>, Errno> {
        let stack = stack_limit.clamp(LEAST_STACK, USER_END / 6 * 5) / PAGE * PAGE;
        let state = State {
            areas: Areas::default(),
            brk_start: 0,
            brk_end: 0,
            top: USER_END - stack - STACK_GUARD,
            later: AreaFlags::empty(),
        };
        let payer = crate::payer::current();
        let tables = PageTables::new(&Tables, payer.clone())?;
        tables.edit().pay()?;
        Self::with(tables, state, Counts::of(PageCounts::default(), payer), Paid::default())
    }

    fn with(tables: Arc<PageTables>, state: State, counts: Counts, paid: Paid) -> Result<Arc<Self>, Errno> {
        let state = RwLock::new(rank::ADDRESS_SPACE, state);
        let companion = SpinLock::new(rank::LEAF, None);
        crate::heap::try_arc(Self { tables, state, counts, paid, small_pages_only: AtomicBool::new(false), companion })
    }

    /// What a floor above keeps with this space; a child of fork has none.
    pub fn companion(&self) -> Option<Companion> {
        self.companion.lock().clone()
    }

    /// Keeps `new` with this space, unless there is something already; gives what there is then.
    pub fn accompany(&self, new: Companion) -> Companion {
        self.companion.lock().get_or_insert_with(|| new.clone()).clone()
    }

    /// Makes this the address space of the current CPU (see [`PageTables::activate`]).
    #[inline]
    pub fn activate(&self) {
        self.tables.activate();
    }

    /// The CPUs on which it is the active one now.
    pub fn active_on(&self) -> CpuSet {
        self.tables.active_on()
    }

    /// What a futex at `address` is known by.
    ///
    /// Errors: `EFAULT` nothing is mapped there.
    pub fn location(&self, address: u64) -> Result<Location, Errno> {
        let state = self.read_state();
        let area = state.areas.find(address).ok_or(Errno::EFAULT)?;
        Ok(match (&area.backing, area.sharing) {
            (Backing::Source { source, index }, Sharing::Shared) => {
                Location::Shared { source: source.identity(), offset: index * PAGE + (address - area.start) }
            }
            _ => Location::Private { address },
        })
    }

    /// Unmaps everything and takes every CPU out of the space: what exec and the last thread's exit do before they
    /// let go. No task may run in the space any longer; the caller goes on without user memory.
    pub fn clear(&self) {
        self.tables.evict();
        let areas = {
            let mut state = self.write_state();
            let areas = core::mem::take(&mut state.areas);
            self.counts.remove(self.tables.edit().clear());
            self.settle(&state);
            areas
        };
        drop(areas);
    }

    /// All areas in ascending order, each as it is when it is reached.
    pub fn areas(&self) -> impl Iterator<Item = AreaInfo> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let area = self.area_from(from)?;
            from = area.end;
            Some(area)
        })
    }

    /// The first area that ends above `address`.
    pub fn area_from(&self, address: u64) -> Option<AreaInfo> {
        let state = self.read_state();
        state.areas.find(address).or_else(|| state.areas.above(address)).map(Area::info)
    }

    /// How much is mapped and resident.
    pub fn resident(&self) -> Resident {
        let totals = self.read_state().areas.totals();
        Resident {
            anonymous: self.counts.anonymous.load(Relaxed),
            file: self.counts.file.load(Relaxed),
            shared: self.counts.shared.load(Relaxed),
            peak: self.counts.peak.load(Relaxed),
            mapped: totals.mapped,
            data: totals.data,
            stack: totals.stack,
            text: totals.text,
            tables: self.tables.table_pages(),
            locked: totals.locked,
        }
    }

    #[inline]
    fn read_state(&self) -> ReadGuard<'_, State> {
        self.state.read()
    }

    fn write_state(&self) -> WriteGuard<'_, State> {
        self.state.write()
    }

    /// Unmaps what lies in the range; gives the areas that were there, to be dropped after the lock.
    ///
    /// Errors, nothing changed: `ENOMEM` see [`Editor::unmap`](machine::paging::Editor::unmap).
    fn take_range(&self, state: &mut State, range: Range<u64>) -> Result<Taken, Errno> {
        self.counts.remove(self.tables.edit().unmap(range.clone(), &Tables)?);
        Ok(state.areas.take(range))
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        // The tables may outlive this value on a CPU that has nothing else to activate; the pages must not.
        self.counts.remove(self.tables.edit().end());
        self.give_back_but(Pages::default());
    }
}

impl Counts {
    /// Counts that start with these pages, which `payer` pays for.
    fn of(counts: PageCounts, payer: Option<Arc<dyn Payer>>) -> Self {
        let new = Self {
            payer,
            anonymous: AtomicU64::new(counts.anonymous),
            file: AtomicU64::new(counts.file),
            shared: AtomicU64::new(counts.shared),
            peak: AtomicU64::new(0),
        };
        new.charge(counts.anonymous + counts.file + counts.shared);
        new.note_peak();
        new
    }

    /// More pages are mapped; that is never refused.
    fn charge(&self, pages: u64) {
        if let Some(payer) = self.payer.as_ref().filter(|_| pages > 0) {
            let _never = payer.charge(Resource::PhysicalPages, pages, Severity::Force);
        }
    }

    fn uncharge(&self, pages: u64) {
        if let Some(payer) = self.payer.as_ref().filter(|_| pages > 0) {
            payer.uncharge(Resource::PhysicalPages, pages);
        }
    }

    fn count(&self, kind: PageKind) -> Option<&AtomicU64> {
        match kind {
            PageKind::Anonymous => Some(&self.anonymous),
            PageKind::File => Some(&self.file),
            PageKind::Shared => Some(&self.shared),
            PageKind::Zero => None,
        }
    }

    /// Counts pages that were mapped where nothing was.
    fn add(&self, kind: PageKind, pages: u64) {
        if let Some(count) = self.count(kind) {
            count.fetch_add(pages, Relaxed);
            self.charge(pages);
            self.note_peak();
        }
    }

    /// Counts a page that was mapped in place of another one.
    fn exchange(&self, kind: PageKind, replaced: PageKind) {
        if replaced == kind {
            return;
        }
        let (new, old) = (self.count(kind), self.count(replaced));
        if let Some(count) = new {
            count.fetch_add(1, Relaxed);
        }
        if let Some(count) = old {
            count.fetch_sub(1, Relaxed);
        }
        match (new.is_some(), old.is_some()) {
            (true, false) => self.charge(1),
            (false, true) => self.uncharge(1),
            _ => {}
        }
        self.note_peak();
    }

    fn remove(&self, counts: PageCounts) {
        for (count, pages) in
            [(&self.anonymous, counts.anonymous), (&self.file, counts.file), (&self.shared, counts.shared)]
        {
            if pages > 0 {
                count.fetch_sub(pages, Relaxed);
            }
        }
        self.uncharge(counts.anonymous + counts.file + counts.shared);
    }

    fn note_peak(&self) {
        let now = self.anonymous.load(Relaxed) + self.file.load(Relaxed) + self.shared.load(Relaxed);
        if now > self.peak.load(Relaxed) {
            self.peak.fetch_max(now, Relaxed);
        }
    }
}

/// The pages of a range given by its first byte and its length; `None` if it leaves the user half.
fn page_range(address: u64, length: u64) -> Option<Range<u64>> {
    let length = length.checked_next_multiple_of(PAGE)?;
    let end = address.checked_add(length)?;
    (end <= USER_END).then_some(address..end)
}
