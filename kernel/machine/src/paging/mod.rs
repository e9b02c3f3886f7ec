//! User page tables: the lower half of one address space. The upper half is the kernel's and shared by all.
//!
//! An entry owns one reference to its frame. Changes are made through an [`Editor`], of which there is one at a
//! time for each [`PageTables`]; it keeps the frames that it unmaps until no CPU can reach them through its TLB. A
//! forked child has whole leaf tables together with its parent until either changes something in them (`sharing.rs`).
//!
//! The tables have the hardware's form on the host too, so that host tests run this very code; what differs (the
//! root register, TLBs) is in `x86/paging.rs` and `host/paging.rs`.
//!
//! Errors: everything that needs a table page can fail with `ENOMEM`.

mod editor;
mod sharing;
mod table;
#[cfg(test)]
mod tests;
mod unmap;
mod walk;

pub use editor::{Editor, Mapping};

#[cfg(not(target_os = "none"))]
use crate::frame::Frame;
use crate::frame::{Block, BlockStack, FRAME_SIZE};
use crate::sync::{SpinLock, rank};
use crate::{arch, cpu, interrupts};
use alloc::sync::Arc;
use base::{
    CpuId, CpuSet, Errno, MAX_CPUS,
    charge::{Payer, Resource, Severity},
};
use bitflags::bitflags;
use core::fmt;
use core::ops::AddAssign;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use table::Table;
pub use unmap::Choice;

/// The first address that user mode can't have.
pub const USER_END: u64 = 0x7fff_ffff_f000;

bitflags! {
    /// What user mode may do with a page. The hardware can't allow the other two without loading.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Permissions: u8 {
        /// Load from it. Without this one, the entry keeps its frame, but nobody reaches it.
        const READ = 1;
        /// Store to it.
        const WRITE = 2;
        /// Run code in it.
        const EXECUTE = 4;
    }
}

/// What a mapped page is, for the counts of resident memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum PageKind {
    /// A page of this address space's own.
    Anonymous = 0,
    /// A page of a file's page cache.
    File = 1,
    /// A page of shared anonymous memory or of tmpfs.
    Shared = 2,
    /// The page of zeros that all share who have only read; it is not counted.
    Zero = 3,
}

/// Pages by kind.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PageCounts {
    /// Pages of the address space's own.
    pub anonymous: u64,
    /// Pages of files.
    pub file: u64,
    /// Pages of shared memory.
    pub shared: u64,
}

impl PageCounts {
    /// The counts that a sum of up to 512 weights of entries stands for.
    fn of(weights: u32) -> Self {
        let count = |kind: PageKind| u64::from(weights >> (10 * kind as u32) & 1023);
        Self { anonymous: count(PageKind::Anonymous), file: count(PageKind::File), shared: count(PageKind::Shared) }
    }
}

impl AddAssign for PageCounts {
    fn add_assign(&mut self, other: Self) {
        self.anonymous += other.anonymous;
        self.file += other.file;
        self.shared += other.shared;
    }
}

/// Gives frames for page tables.
pub trait TableSource {
    /// One frame; its bytes may be anything. Called under the lock of the page tables.
    ///
    /// Errors: `ENOMEM`.
    fn table(&self) -> Result<Block, Errno>;
}

/// The page tables of one address space.
pub struct PageTables {
    /// The top-level table. Lives as long as this value.
    root: Table,
    /// CPUs whose root register names `root`. A CPU is a member before it loads the register, and until after it
    /// has loaded another.
    active: ActiveSet,
    /// The number of table pages, written under `spare`'s lock.
    pages: AtomicU64,
    /// Who pays for the table pages.
    payer: Option<Arc<dyn Payer>>,
    /// For how many it does, written under `spare`'s lock; 0 before the first payment, which is for all that there are then.
    paid: AtomicU64,
    /// Whether it refused the last time that it was asked.
    is_refused: AtomicBool,
    /// The right to change the tables, and emptied table pages for the next need.
    spare: SpinLock<BlockStack>,
}

impl PageTables {
    /// Empty tables. `payer` pays for them from [`Editor::pay`] on until [`Editor::end`]; a CPU may keep the root for a
    /// while after that.
    ///
    /// Errors: `ENOMEM`.
    pub fn new(source: &dyn TableSource, payer: Option<Arc<dyn Payer>>) -> Result<Arc<Self>, Errno> {
        let mut root = source.table()?;
        root.zero();
        let root = Table::new(root);
        arch::paging::fill_kernel_half(root.frame());
        Ok(Arc::new(Self {
            root,
            active: ActiveSet::new(),
            pages: AtomicU64::new(1),
            payer,
            paid: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
            spare: SpinLock::new(rank::PAGE_TABLE, BlockStack::new()),
        }))
    }

    /// Starts a change; waits (spinning) for the one who is at it. Interrupts must be on when the editor is dropped:
    /// it may have to interrupt other CPUs.
    #[track_caller]
    pub fn edit(&self) -> Editor<'_> {
        Editor::new(self, self.spare.lock())
    }

    /// Starts a change of tables that nobody else knows yet, while others are under change.
    #[track_caller]
    pub fn edit_nested(&self) -> Editor<'_> {
        Editor::new(self, self.spare.lock_nested())
    }

    /// A table page more is in use. Under `spare`'s lock. `ENOMEM` nobody pays for it.
    #[inline]
    fn add_table(&self) -> Result<(), Errno> {
        let pages = self.pages.load(Relaxed) + 1;
        if self.paid.load(Relaxed) > 0 {
            self.pay_for(pages)?;
        }
        self.pages.store(pages, Relaxed);
        Ok(())
    }

    /// Table pages more are in use that others have too; they are paid for later ([`Editor::pay`]). Under `spare`'s lock.
    fn add_shared_tables(&self, pages: u64) {
        self.pages.store(self.pages.load(Relaxed) + pages, Relaxed);
    }

    /// Table pages are no longer in use. Under `spare`'s lock. What was paid for them is given back at the end of the
    /// change, with that for all others.
    fn remove_tables(&self, pages: u64) {
        self.pages.store(self.pages.load(Relaxed) - pages, Relaxed);
    }

    /// Has the payer pay for so many table pages, if it does not yet. Under `spare`'s lock. `ENOMEM` it refuses.
    fn pay_for(&self, pages: u64) -> Result<(), Errno> {
        let paid = self.paid.load(Relaxed);
        if let Some(payer) = &self.payer
            && pages > paid
        {
            let more = (pages - paid) * FRAME_SIZE as u64;
            let charged = payer.charge(Resource::KernelMemory, more, Severity::Limit);
            self.is_refused.store(charged.is_err(), Relaxed);
            charged.map_err(|_| Errno::ENOMEM)?;
            self.paid.store(pages, Relaxed);
        }
        Ok(())
    }

    /// After an `ENOMEM`: whether nobody paid for a table page, rather than that there was none.
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Relaxed)
    }

    /// Gives back what was paid for more table pages than so many. Under `spare`'s lock.
    fn settle(&self, pages: u64) {
        let paid = self.paid.load(Relaxed);
        if let Some(payer) = &self.payer
            && pages < paid
        {
            self.paid.store(pages, Relaxed);
            payer.uncharge(Resource::KernelMemory, (paid - pages) * FRAME_SIZE as u64);
        }
    }

    /// The number of table pages, the root included.
    pub fn table_pages(&self) -> u64 {
        self.pages.load(Relaxed)
    }

    /// Makes this the address space of the current CPU. The CPU keeps a reference until another one is activated.
    #[inline]
    pub fn activate(self: &Arc<Self>) {
        if arch::paging::current() == Arc::as_ptr(self) {
            return;
        }
        let off = interrupts::off();
        let cpu = cpu::current();
        self.active.insert(cpu);
        // SAFETY: the kernel's half is complete (`fill_kernel_half`), and the user half refers to frames that its
        // entries own. The reference put in the slot below keeps the tables while the register names them: it is
        // taken out only after the register was loaded anew.
        unsafe { arch::paging::load_root(self.root.frame()) };
        leave(arch::paging::exchange_current(cpu, Arc::into_raw(self.clone())), cpu);
        drop(off);
    }

    /// Takes every CPU out of it: when no task runs in it any longer, CPUs may still have it because nothing else was
    /// activated there. Call with interrupts on and no spinning lock held that other CPUs wait for with theirs off.
    pub fn evict(&self) {
        let cpus = self.active_on();
        if cpus.is_empty() {
            return;
        }
        let this = core::ptr::from_ref(self).addr();
        let leave = move || {
            if arch::paging::current().addr() == this {
                deactivate();
            }
        };
        if cpus == CpuSet::only(cpu::current()) { leave() } else { arch::ipi::call(&cpus, &leave) }
    }

    /// The CPUs on which it is the current one now.
    pub fn active_on(&self) -> CpuSet {
        self.active.get()
    }
}

impl Drop for PageTables {
    fn drop(&mut self) {
        self.edit().end();
        // SAFETY: no CPU uses the tables, since each that does has a reference; they are empty, so only the root is
        // left, and this value ends.
        drop(unsafe { self.root.into_block() });
    }
}

impl fmt::Debug for PageTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageTables")
            .field("root", &self.root.frame())
            .field("active", &self.active.get().count())
            .finish()
    }
}

/// Takes the current CPU out of any user address space.
pub fn deactivate() {
    if arch::paging::current().is_null() {
        return;
    }
    let off = interrupts::off();
    // SAFETY: the kernel's own tables live for ever.
    unsafe { arch::paging::load_kernel_root() };
    let cpu = cpu::current();
    leave(arch::paging::exchange_current(cpu, core::ptr::null()), cpu);
    drop(off);
}

/// Gives up the reference that this CPU had while `old` was in its root register, which names another by now.
#[inline]
fn leave(old: *const PageTables, cpu: CpuId) {
    if !old.is_null() {
        // SAFETY: the pointer was made by `Arc::into_raw` in `activate`, and has just been taken out of the slot.
        let old = unsafe { Arc::from_raw(old) };
        old.active.remove(cpu);
    }
}

/// The page at `address` of the address space that is active on this CPU, if user mode may use it so: what the
/// hardware would find. For user copies on the host.
#[cfg(not(target_os = "none"))]
pub(crate) fn look_up_current(address: u64, write: bool) -> Option<Frame> {
    let current = arch::paging::current();
    if current.is_null() {
        return None;
    }
    // SAFETY: the slot of this thread holds a reference until it is exchanged, by this thread.
    let tables = unsafe { &*current };
    tables.edit().touch(address, write)
}

/// A set of CPUs that each of them enters and leaves by itself.
struct ActiveSet([AtomicU64; MAX_CPUS / 64]);

impl ActiveSet {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; MAX_CPUS / 64])
    }

    // SeqCst: whoever changes an entry and then reads the set sees this CPU in it, or this CPU, which reads its
    // tables after entering, sees the changed entry.
    fn insert(&self, cpu: CpuId) {
        self.0[cpu.index() / 64].fetch_or(1 << (cpu.index() % 64), SeqCst);
    }

    fn remove(&self, cpu: CpuId) {
        self.0[cpu.index() / 64].fetch_and(!(1 << (cpu.index() % 64)), SeqCst);
    }

    fn get(&self) -> CpuSet {
        CpuSet::from_words(core::array::from_fn(|word| self.0[word].load(SeqCst)))
    }
}
