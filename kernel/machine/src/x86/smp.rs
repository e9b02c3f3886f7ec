//! Starting the other CPUs.
//!
//! A CPU that gets INIT and then SIPI begins in real mode at a page below 1 MiB. The code there turns on long
//! mode in one step, with page tables that map this page to itself besides the kernel's half, takes a stack and
//! its block of per-CPU data from a slot in the same page, jumps into the kernel and reports itself online.
//! CPUs are reset all at once, because they need time for that, and started one by one, because of the slot.

use super::cpu::{self, CpuLocal};
use super::interrupts;
use super::physical::{self, PAGE_SIZE};
use super::stack::Stack;
use super::{descriptors, fpu, kernel_map, local_apic, time, user};
use crate::topology;
use base::CpuId;
use core::arch::global_asm;
use core::mem::ManuallyDrop;
use core::ptr::addr_of;
use spin::Once;
use x86_64::PhysAddr;
use x86_64::registers::control::{Cr3, Cr3Flags};
use x86_64::structures::paging::PhysFrame;

/// What the start-up code reads and writes, at the start of the page, after a jump over it.
#[repr(C)]
struct Slot {
    jump: [u8; 8],
    /// The page tables, below 4 GiB.
    root: u32,
    /// The address of `code64` as the far jump wants it.
    far_offset: u32,
    far_selector: u16,
    table_limit: u16,
    table_base: u32,
    stack_top: u64,
    local: *const CpuLocal,
    enter: extern "C" fn(&'static CpuLocal) -> !,
    /// Null, 64-bit code.
    table: [u64; 2],
}

global_asm!(
    ".pushsection .rodata.start_up, \"a\"",
    ".p2align 4",
    ".code16",
    "start_up_begin:",
    "jmp 2f",
    ".p2align 3",
    ".space {slot} - 8",
    "2:",
    "cli",
    "cld",
    "mov ax, cs",
    "mov ds, ax",
    "lgdt [{table_limit}]",
    "mov eax, cr4",
    "or eax, 0x20", // PAE
    "mov cr4, eax",
    "mov eax, [{root}]",
    "mov cr3, eax",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x900", // long mode, no-execute
    "wrmsr",
    "mov eax, cr0",
    "and eax, 0x9fffffff", // caches on
    "or eax, 0x80010001",  // paging, write protection, protected mode
    "mov cr0, eax",
    "jmp fword ptr [{far_offset}]",
    ".code64",
    ".global start_up_code64",
    "start_up_code64:",
    "lea rbx, [rip + start_up_begin]",
    "mov rsp, [rbx + {stack_top}]",
    "mov rdi, [rbx + {local}]",
    "mov rax, [rbx + {enter}]",
    "xor ebp, ebp",
    "push rbp", // no return address
    "jmp rax",
    ".global start_up_end",
    "start_up_end:",
    ".popsection",
    slot = const size_of::<Slot>(),
    root = const core::mem::offset_of!(Slot, root),
    far_offset = const core::mem::offset_of!(Slot, far_offset),
    table_limit = const core::mem::offset_of!(Slot, table_limit),
    stack_top = const core::mem::offset_of!(Slot, stack_top),
    local = const core::mem::offset_of!(Slot, local),
    enter = const core::mem::offset_of!(Slot, enter),
);

unsafe extern "C" {
    static start_up_begin: u8;
    static start_up_code64: u8;
    static start_up_end: u8;
}

static ENTRY: Once<fn() -> !> = Once::new();

/// The page tables for starting, made while early frames last.
static START_UP_ROOT: Once<u32> = Once::new();

/// Makes what starting needs. At boot, before the frames are handed out.
pub(super) fn prepare() {
    let Some(page) = physical::start_up_page() else { return };
    match u32::try_from(kernel_map::start_up_root(page)) {
        Ok(root) => {
            START_UP_ROOT.call_once(|| root);
        }
        Err(_) => crate::log!("cpu: no memory below 4 GiB for starting other CPUs"),
    }
}

/// Starts all other possible CPUs; each calls `entry`, interrupts off, on a stack of its own, with its per-CPU
/// data ready. Returns when each has answered; one that does not answer is logged and stays out.
pub fn start_others(entry: fn() -> !) {
    let others = cpu::possible().without(&cpu::started());
    if others.is_empty() {
        return;
    }
    let (Some(page), Some(&root)) = (physical::start_up_page(), START_UP_ROOT.get()) else {
        crate::log!("cpu: no memory below 1 MiB to start other CPUs: going on with one");
        return;
    };
    ENTRY.call_once(|| entry);
    let slot = physical::to_virtual(page).cast::<Slot>();
    let (begin, code64, end) = (addr_of!(start_up_begin), addr_of!(start_up_code64), addr_of!(start_up_end));
    let offset = |place: *const u8| (place.addr() - begin.addr()) as u32;
    assert!(u64::from(offset(end)) <= PAGE_SIZE, "the start-up code is larger than its page");
    // SAFETY: the page below 1 MiB is usable memory that nobody else was given; the code fits (checked), and the
    // slot lies in the room that the code leaves for it after its first jump, which is kept.
    unsafe {
        begin.copy_to_nonoverlapping(slot.cast(), end.addr() - begin.addr());
        let base = page as u32;
        (&raw mut (*slot).root).write(root);
        (&raw mut (*slot).far_offset).write(base + offset(code64));
        (&raw mut (*slot).far_selector).write(8);
        (&raw mut (*slot).table_limit).write(15);
        (&raw mut (*slot).table_base).write_unaligned(base + core::mem::offset_of!(Slot, table) as u32);
        (&raw mut (*slot).enter).write(enter);
        (&raw mut (*slot).table).write([0, 0x00af_9a00_0000_ffff]);
    }
    for local in others.iter().filter_map(cpu::local) {
        let off = interrupts::off();
        local_apic::send_init(&off, local.apic_id.get());
    }
    time::spin(10_000_000);
    let mut started = 1;
    for local in others.iter().filter_map(cpu::local) {
        started += usize::from(start(local, slot, page));
    }
    crate::log!("cpu: {started} of {} CPUs run", cpu::possible().count());
}

/// Starts one CPU; says whether it answered.
fn start(local: &'static CpuLocal, slot: *mut Slot, page: u64) -> bool {
    const ATTEMPTS: usize = 2;
    const PATIENCE: u64 = 5_000_000_000; // nanoseconds; an emulator on a busy host may not run a CPU for long
    let id = CpuId::new(local.id.get());
    // The CPU's idle task runs on it for ever.
    let stack = match Stack::new() {
        Ok(stack) => ManuallyDrop::new(stack),
        Err(error) => {
            crate::log!("cpu: CPU {id} stays out: no stack ({error})");
            return false;
        }
    };
    // SAFETY: the slot is ours while no CPU is being started: the one before is online and so has taken its
    // values, or was given up and reset.
    unsafe {
        (&raw mut (*slot).stack_top).write(stack.top().expose_provenance() as u64);
        (&raw mut (*slot).local).write(local);
    }
    for _ in 0..ATTEMPTS {
        local_apic::send_start_up(&interrupts::off(), local.apic_id.get(), page);
        let end = time::now() + PATIENCE;
        while time::now() < end {
            if cpu::started().contains(id) {
                return true;
            }
            core::hint::spin_loop();
        }
    }
    crate::log!("cpu: CPU {id} (APIC {}) does not answer and stays out", local.apic_id.get());
    local_apic::send_init(&interrupts::off(), local.apic_id.get());
    false
}

/// Where a starting CPU enters the kernel, on its stack, with the start-up page tables.
extern "C" fn enter(local: &'static CpuLocal) -> ! {
    local.adopt();
    descriptors::show_place(topology::get().node_of(CpuId::new(local.id.get())));
    cpu::protect();
    let root = PhysFrame::containing_address(PhysAddr::new(kernel_map::kernel_root()));
    // SAFETY: the kernel's own tables: all that this code uses lies in the half that both have.
    unsafe { Cr3::write(root, Cr3Flags::empty()) };
    fpu::init();
    user::init();
    local.local_apic.init();
    cpu::set_online(CpuId::new(local.id.get()));
    let entry = ENTRY.get().expect("set before the first CPU is started");
    entry()
}
