//! The CPUs: the block of data that each has for itself, what the processor can do, who is online.

use super::context::Left;
use super::descriptors::{EMERGENCY_STACK_SIZE, EMERGENCY_STACKS, SEGMENTS, SegmentTable};
use super::interrupts::{self, InterruptsOff};
use super::ipi::Mailbox;
use super::local_apic::LocalApicCell;
use super::physical;
use alloc::{boxed::Box, vec::Vec};
use base::{CpuId, CpuSet, MAX_CPUS};
use core::arch::asm;
use core::cell::{Cell, UnsafeCell};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use spin::Once;
use x86_64::VirtAddr;
use x86_64::registers::model_specific::{GsBase, KernelGsBase};
use x86_64::structures::tss::TaskStateSegment;

pub use super::identity::identity;
pub use super::smp::start_others;

/// What each CPU has for itself; GS points to it in kernel mode. The entry code knows the offsets.
///
/// The `Cell`s are read and written only by the CPU that the block belongs to (through [`here`]), and only
/// where an interrupt handler in between does no harm or interrupts are off; atomics are for all.
#[repr(C, align(64))]
pub(crate) struct CpuLocal {
    /// The address of this very block, so that `gs:0` gives it.
    this: Cell<*const CpuLocal>,
    /// The user's stack pointer while the system call entry finds the kernel's.
    pub(super) user_stack: Cell<u64>,
    /// The CPU's number.
    pub(super) id: Cell<u32>,
    /// The number of its local APIC.
    pub(super) apic_id: Cell<u32>,
    /// Set by every interrupt, cleared when user mode is about to be entered: see `UserContext::run`.
    pub(super) interrupted: Cell<bool>,
    /// Its debug registers stop programs: see `breakpoints`.
    pub(super) has_breakpoints: Cell<bool>,
    /// The scheduler's mark: see [`set_wanted`].
    wanted: AtomicBool,
    /// How many interrupts it has served, by [`interrupts::Kind`].
    pub(super) served: [AtomicU64; interrupts::KINDS],
    /// TSC cycles spent in user mode since somebody took them.
    pub(super) user_cycles: Cell<u64>,
    /// The context of the task that runs, until its first steps are over, and that of the one before if it has ended: see
    /// `context::switch_owned`.
    pub(super) left: Cell<Option<Left>>,
    /// This CPU's local APIC.
    pub(super) local_apic: LocalApicCell,
    /// Calls from other CPUs, and the one that this CPU makes.
    pub(super) mailbox: Mailbox,
    pub(super) task_state: UnsafeCell<TaskStateSegment>,
    pub(super) segments: UnsafeCell<SegmentTable>,
    /// The ends of its emergency stacks.
    pub(super) emergency_stacks: Cell<[u64; EMERGENCY_STACKS]>,
}

// SAFETY: blocks are shared so that other CPUs can reach `mailbox` and `served`, which are made of atomics. All else is for
// the owner alone: `here()` is the only way to the cells, gives a CPU its own block, and the block's reference
// is not kept over a switch.
unsafe impl Sync for CpuLocal {}

/// Where the entry code finds the user's stack pointer.
pub(super) const USER_STACK: usize = core::mem::offset_of!(CpuLocal, user_stack);
/// Where it finds the kernel's: the privilege stack 0 in the task state, which lies after a reserved word.
pub(super) const KERNEL_STACK: usize = core::mem::offset_of!(CpuLocal, task_state) + 4;

impl CpuLocal {
    const fn new() -> Self {
        Self {
            this: Cell::new(core::ptr::null()),
            user_stack: Cell::new(0),
            id: Cell::new(0),
            apic_id: Cell::new(0),
            interrupted: Cell::new(false),
            has_breakpoints: Cell::new(false),
            wanted: AtomicBool::new(false),
            served: [const { AtomicU64::new(0) }; interrupts::KINDS],
            user_cycles: Cell::new(0),
            left: Cell::new(None),
            local_apic: LocalApicCell::new(),
            mailbox: Mailbox::new(),
            task_state: UnsafeCell::new(TaskStateSegment::new()),
            segments: UnsafeCell::new([0; SEGMENTS]),
            emergency_stacks: Cell::new([0; EMERGENCY_STACKS]),
        }
    }

    /// Gives the CPU its emergency stacks, which lie one after the other from `first` on.
    fn set_emergency_stacks(&self, first: u64) {
        self.emergency_stacks.set(core::array::from_fn(|stack| first + ((stack + 1) * EMERGENCY_STACK_SIZE) as u64));
    }

    /// Makes this the block of the CPU that runs this: segments, traps, GS. Once on each CPU, interrupts off.
    pub(super) fn adopt(&'static self) {
        self.this.set(self);
        // SAFETY: blocks are never freed, each is adopted once by the CPU it was made for (`init_boot_cpu` or
        // the start of another CPU, which takes it from a hand-over slot), and GS is set in the next lines.
        unsafe { super::descriptors::load(self) };
        GsBase::write(VirtAddr::from_ptr(self));
        KernelGsBase::write(VirtAddr::zero());
    }
}

/// Room for stacks; the ABI wants their ends on 16 bytes. Only the processor touches it.
#[repr(align(16))]
struct StackSpace(UnsafeCell<[u8; EMERGENCY_STACK_SIZE * EMERGENCY_STACKS]>);

// SAFETY: no code refers to the bytes; the boot CPU's traps use them as stacks.
unsafe impl Sync for StackSpace {}

static BOOT_STACKS: StackSpace = StackSpace(UnsafeCell::new([0; EMERGENCY_STACK_SIZE * EMERGENCY_STACKS]));
static BOOT_CPU: CpuLocal = CpuLocal::new();
static ALL: Once<Box<[&'static CpuLocal]>> = Once::new();
/// CPUs that take tasks.
static ONLINE: SharedSet = SharedSet::new();
/// CPUs that are told when mappings of the kernel change: all that run but those that are parked.
static ATTENTIVE: SharedSet = SharedSet::new();
/// CPUs that have ever been started: they serve interrupts.
static STARTED: SharedSet = SharedSet::new();

/// A set of CPUs that several CPUs change.
struct SharedSet([AtomicU64; MAX_CPUS / 64]);

impl SharedSet {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; MAX_CPUS / 64])
    }

    fn get(&self) -> CpuSet {
        CpuSet::from_words(core::array::from_fn(|word| self.0[word].load(Ordering::SeqCst)))
    }

    fn insert(&self, cpu: CpuId) {
        self.0[cpu.index() / 64].fetch_or(1 << (cpu.index() % 64), Ordering::SeqCst);
    }

    fn remove(&self, cpu: CpuId) {
        self.0[cpu.index() / 64].fetch_and(!(1 << (cpu.index() % 64)), Ordering::SeqCst);
    }
}

/// Gives the boot CPU its block. The first thing that the kernel does; `current()` works from then on.
pub(super) fn init_boot_cpu() {
    BOOT_CPU.set_emergency_stacks(BOOT_STACKS.0.get().expose_provenance() as u64);
    BOOT_CPU.adopt();
    set_online(CpuId::new(0));
}

/// Makes the blocks of all CPUs, `apic_ids` in the order of their numbers (the boot CPU first). At boot, once.
pub(super) fn init_all(apic_ids: &[u32]) {
    BOOT_CPU.apic_id.set(apic_ids[0]);
    ALL.call_once(|| {
        let frames = (size_of::<CpuLocal>() as u64).div_ceil(physical::PAGE_SIZE);
        let others = apic_ids.iter().enumerate().skip(1).map(|(id, &apic_id)| {
            let place = physical::to_virtual(physical::early_frames(frames)).cast::<CpuLocal>();
            // SAFETY: needs room for the block that is nobody else's: `early_frames` gave enough frames for
            // ever, page-aligned, and the direct map makes them writable.
            let local: &'static CpuLocal = unsafe {
                place.write(CpuLocal::new());
                &*place
            };
            let stacks = physical::early_frames((EMERGENCY_STACK_SIZE * EMERGENCY_STACKS) as u64 / physical::PAGE_SIZE);
            local.set_emergency_stacks(physical::to_virtual(stacks).expose_provenance() as u64);
            local.id.set(id as u32);
            local.apic_id.set(apic_id);
            local
        });
        core::iter::once(&BOOT_CPU).chain(others).collect::<Vec<_>>().into_boxed_slice()
    });
}

/// The block of the CPU that runs this. It is another CPU's as soon as the caller gives way, so don't keep it.
#[inline]
pub(crate) fn here() -> &'static CpuLocal {
    let local: *const CpuLocal;
    // SAFETY: in kernel mode GS points to this CPU's block, whose first word is its own address: `adopt` set
    // both, the entry code swaps GS in before any Rust code runs. Blocks live for ever.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) local, options(nostack, preserves_flags, readonly));
        &*local
    }
}

/// The block of `cpu`, if that is a possible CPU.
pub(super) fn local(cpu: CpuId) -> Option<&'static CpuLocal> {
    match ALL.get() {
        Some(all) => all.get(cpu.index()).copied(),
        None => (cpu.index() == 0).then_some(&BOOT_CPU),
    }
}

/// The number of the CPU that this runs on.
#[inline]
pub fn current() -> CpuId {
    let id: u32;
    // SAFETY: as in `here`; the field is at this offset of the block and is not written after boot.
    unsafe {
        asm!("mov {:e}, gs:[{}]", out(reg) id, const core::mem::offset_of!(CpuLocal, id),
            options(nostack, preserves_flags, readonly));
    }
    CpuId::new(id)
}

/// Whether this CPU is marked as one that is to choose its task anew.
#[inline]
pub fn is_wanted() -> bool {
    const WANTED: usize = core::mem::offset_of!(CpuLocal, wanted);
    let wanted: u8;
    // SAFETY: as in `here`; a load of the processor's is what an atomic one is, and in one instruction it is this CPU's
    // block. Not `readonly`: others set the mark, and each look is to be made.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg_byte) wanted, offset = const WANTED, options(nostack, preserves_flags))
    };
    wanted != 0
}

/// Marks `cpu` as one that is to choose its task anew; says whether it was marked. Nothing for a number that no CPU has.
pub fn set_wanted(cpu: CpuId) -> bool {
    local(cpu).is_some_and(|local| local.wanted.swap(true, Ordering::SeqCst))
}

/// Takes the mark from this CPU.
#[inline]
pub fn clear_wanted() {
    here().wanted.store(false, Ordering::SeqCst);
}

/// The CPUs that this kernel can use: those in the firmware's tables, within the build's limit and `maxcpus=`.
pub fn possible() -> CpuSet {
    CpuSet::first(ALL.get().map_or(1, |all| all.len()))
}

/// The CPUs that take tasks: those that have been started and not been taken offline since.
pub fn online() -> CpuSet {
    ONLINE.get()
}

/// The CPUs that serve interrupts, those that are offline included.
pub(super) fn started() -> CpuSet {
    STARTED.get()
}

/// The CPUs that must forget a mapping of the kernel when it goes.
pub(super) fn attentive() -> CpuSet {
    ATTENTIVE.get()
}

pub(super) fn set_online(cpu: CpuId) {
    STARTED.insert(cpu);
    ATTENTIVE.insert(cpu);
    ONLINE.insert(cpu);
}

/// Takes a CPU out of [`online`]. It goes on with what it does, and answers calls and interrupts as before, until
/// it parks itself.
pub fn withdraw(cpu: CpuId) {
    ONLINE.remove(cpu);
}

/// From here on changes of the kernel's mappings need not be told to this CPU: it will do nothing but halt and serve
/// interrupts until [`unpark`]. No user address space may be active on it.
pub fn park(_off: &InterruptsOff) {
    ATTENTIVE.remove(current());
}

/// Ends [`park`]: this CPU forgets what it knew of mappings, and is in [`online`] again.
pub fn unpark(_off: &InterruptsOff) {
    use x86_64::registers::control::{Cr4, Cr4Flags};
    // First: who changes a mapping from here on tells this CPU; what was changed before is forgotten below.
    ATTENTIVE.insert(current());
    let flags = Cr4::read();
    // SAFETY: taking the flag away and giving it back makes this CPU forget all entries, global ones too, and changes
    // nothing else.
    unsafe {
        Cr4::write(flags - Cr4Flags::PAGE_GLOBAL);
        Cr4::write(flags);
    }
    ONLINE.insert(current());
}

/// Halts this CPU until an interrupt has been handled. Interrupts are on afterwards.
///
/// What the caller checked with interrupts off still holds when the CPU halts: an interrupt that arrives in
/// between ends the halt.
pub fn halt_until_interrupt(off: InterruptsOff) {
    off.forget();
    // SAFETY: `sti` takes effect after the next instruction, so nothing comes between it and `hlt`. Turning
    // interrupts on is what the caller asked for by giving up its guard.
    unsafe { asm!("sti", "hlt", options(nomem, nostack)) };
}

/// Takes the TSC cycles that this CPU has spent in user mode since the last call here.
pub fn take_user_cycles() -> u64 {
    here().user_cycles.replace(0)
}

/// What this kernel wants to know of the processor. The same on all CPUs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Features {
    pub smep: bool,
    pub smap: bool,
    pub umip: bool,
    pub xsave: bool,
    pub xsaveopt: bool,
    pub rdrand: bool,
    pub tsc_deadline: bool,
    pub invariant_tsc: bool,
    pub gigabyte_pages: bool,
}

static FEATURES: Once<Features> = Once::new();

/// What the processor can do.
pub(crate) fn features() -> &'static Features {
    FEATURES.call_once(|| {
        let highest = cpuid(0, 0).eax;
        let highest_extended = cpuid(0x8000_0000, 0).eax;
        let basic = cpuid(1, 0).ecx;
        let seven = if highest >= 7 { cpuid(7, 0) } else { cpuid(0xffff_ffff, 0).none() };
        let saves = if highest >= 0xd { cpuid(0xd, 1).eax } else { 0 };
        let extended = cpuid(0x8000_0001, 0).edx;
        let power = if highest_extended >= 0x8000_0007 { cpuid(0x8000_0007, 0).edx } else { 0 };
        let xsave = basic & 1 << 26 != 0;
        Features {
            smep: seven.ebx & 1 << 7 != 0,
            smap: seven.ebx & 1 << 20 != 0,
            umip: seven.ecx & 1 << 2 != 0,
            xsave,
            xsaveopt: xsave && saves & 1 != 0,
            rdrand: basic & 1 << 30 != 0,
            tsc_deadline: basic & 1 << 24 != 0,
            gigabyte_pages: extended & 1 << 26 != 0,
            invariant_tsc: power & 1 << 8 != 0,
        }
    })
}

/// The four registers of one `cpuid` leaf.
#[derive(Clone, Copy)]
pub(crate) struct CpuIdResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

impl CpuIdResult {
    fn none(self) -> Self {
        Self { eax: 0, ebx: 0, ecx: 0, edx: 0 }
    }
}

/// The processor's feature word that programs get as `AT_HWCAP`: CPUID leaf 1, EDX.
pub fn capability_word() -> u32 {
    cpuid(1, 0).edx
}

pub(crate) fn cpuid(leaf: u32, subleaf: u32) -> CpuIdResult {
    let result = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    CpuIdResult { eax: result.eax, ebx: result.ebx, ecx: result.ecx, edx: result.edx }
}

/// Sets the protections of this CPU: no execution of user pages, no stray access to them, no writes to
/// read-only pages by the kernel, no descriptor tables shown to programs. Once on each CPU.
pub(super) fn protect() {
    use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags};
    use x86_64::registers::model_specific::{Efer, EferFlags};
    let features = features();
    let optional = [
        (features.smep, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION),
        (features.smap, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION),
        (features.umip, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION),
        (features.xsave, Cr4Flags::OSXSAVE),
    ];
    let wanted = optional.iter().filter(|(has, _)| *has).fold(Cr4Flags::empty(), |all, (_, flag)| all | *flag);
    // SAFETY: none of these changes what the kernel's own accesses mean: it executes no user page, touches user
    // memory only between `stac` and `clac`, and writes to no read-only page. The CPU has each (checked above
    // or part of every x86-64). FPU: emulation off, native errors, no lazy trap; the kernel itself uses none.
    unsafe {
        Cr0::update(|flags| {
            flags.insert(Cr0Flags::WRITE_PROTECT | Cr0Flags::MONITOR_COPROCESSOR | Cr0Flags::NUMERIC_ERROR);
            flags.remove(Cr0Flags::EMULATE_COPROCESSOR | Cr0Flags::TASK_SWITCHED);
        });
        Cr4::update(|flags| {
            flags.insert(wanted | Cr4Flags::PAGE_GLOBAL | Cr4Flags::OSFXSR | Cr4Flags::OSXMMEXCPT_ENABLE);
            flags.remove(Cr4Flags::FSGSBASE | Cr4Flags::TIMESTAMP_DISABLE);
        });
        Efer::update(|flags| {
            flags.insert(EferFlags::NO_EXECUTE_ENABLE | EferFlags::SYSTEM_CALL_EXTENSIONS);
        });
    }
}
