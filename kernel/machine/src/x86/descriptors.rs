//! Segments, the task state segment and the interrupt descriptor table of each CPU.
//!
//! The selectors have Linux's numbers, because signal frames and debuggers show them.

use super::cpu::CpuLocal;
use super::traps;
use base::NodeId;
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lgdt, lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{DescriptorFlags, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

/// Kernel code.
pub(super) const KERNEL_CODE: u16 = 0x10;
/// Kernel data.
pub(super) const KERNEL_DATA: u16 = 0x18;
/// What `sysret` counts from: data is 8 and 64-bit code 16 further. The slot itself, 32-bit user code, is empty.
pub(super) const USER_BASE: u16 = 0x20 | 3;
/// User data.
pub(super) const USER_DATA: u16 = 0x28 | 3;
/// User code, 64 bits.
pub(super) const USER_CODE: u16 = 0x30 | 3;
const TASK_STATE: u16 = 0x40;

/// What tells a program which CPU and node it is on.
const PLACE: u16 = vdso::clock::PLACE_SELECTOR;
/// How many descriptors there are.
pub(super) const SEGMENTS: usize = PLACE as usize / 8 + 1;

/// The descriptors: null, unused, the five above, unused, two slots for the task state segment, five unused, and the
/// CPU's place.
pub(super) type SegmentTable = [u64; SEGMENTS];

/// Which of the emergency stacks a trap runs on: traps that may come while the kernel stack is unusable.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum EmergencyStack {
    DoubleFault = 0,
    NonMaskable = 1,
    MachineCheck = 2,
    Debug = 3,
}

/// How many there are.
pub(super) const EMERGENCY_STACKS: usize = 4;
/// Bytes of one emergency stack: enough for a panic with its backtrace.
pub(super) const EMERGENCY_STACK_SIZE: usize = 16 * 1024;

#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    stack: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

impl Gate {
    /// An interrupt gate: interrupts are off in the handler.
    fn new(vector: u8) -> Self {
        let offset = traps::stub(vector);
        let stack = match vector {
            // A program can have it come at the first instruction of an entry, by `mov ss` just before.
            1 => Some(EmergencyStack::Debug),
            2 => Some(EmergencyStack::NonMaskable),
            8 => Some(EmergencyStack::DoubleFault),
            18 => Some(EmergencyStack::MachineCheck),
            _ => None,
        };
        // `int3` is for programs to use; every other number in an `int` instruction is a protection fault.
        let privilege = if vector == 3 { 3 << 5 } else { 0 };
        Self {
            offset_low: offset as u16,
            selector: KERNEL_CODE,
            stack: stack.map_or(0, |stack| stack as u8 + 1),
            kind: 0x8e | privilege,
            offset_middle: (offset >> 16) as u16,
            offset_high: (offset >> 32) as u32,
            reserved: 0,
        }
    }
}

/// A segment of data that user mode may read: its limit says which CPU this is, on which node.
fn place_segment(cpu: u32, node: u32) -> u64 {
    const PRESENT_USER_READ_ONLY: u64 = 0xf1 << 40;
    let limit = u64::from(vdso::clock::place::encode(cpu, node));
    PRESENT_USER_READ_ONLY | (limit & 0xffff) | (limit >> 16) << 48
}

/// Lets programs on this CPU learn its number and its node. Once on each CPU, when the topology is known.
pub(super) fn show_place(node: NodeId) {
    let local = super::cpu::here();
    let segment = place_segment(local.id.get(), node.raw());
    // SAFETY: the table is this CPU's own and lives for ever; only programs load this one descriptor, none runs yet, and
    // nobody has a reference to the table.
    unsafe { (*local.segments.get())[usize::from(PLACE) / 8] = segment };
}

static INTERRUPT_TABLE: spin::Once<[Gate; 256]> = spin::Once::new();

/// Loads this CPU's segments, task state and the common interrupt table. Once on each CPU, interrupts off.
///
/// # Safety
/// `local` is this CPU's own block and will stay where it is for ever. The GS base is lost: the caller sets it
/// (again) before anything asks for per-CPU data.
pub(super) unsafe fn load(local: &'static CpuLocal) {
    let task_state = local.task_state.get();
    // SAFETY: nobody else refers to the two tables yet: the caller owns `local`, and `load` runs once on each
    // CPU, before traps (which only the processor itself serves from them) can arrive.
    let (task_state, table) = unsafe { (&mut *task_state, &mut *local.segments.get()) };
    *task_state = TaskStateSegment::new();
    for (index, end) in local.emergency_stacks.get().into_iter().enumerate() {
        task_state.interrupt_stack_table[index] = VirtAddr::new(end);
    }
    let state_address = core::ptr::from_ref(task_state).expose_provenance() as u64;
    let limit = size_of::<TaskStateSegment>() as u64 - 1;
    *table = [
        0,
        0,
        DescriptorFlags::KERNEL_CODE64.bits(),
        DescriptorFlags::KERNEL_DATA.bits(),
        0,
        DescriptorFlags::USER_DATA.bits(),
        DescriptorFlags::USER_CODE64.bits(),
        0,
        // present, 64-bit available task state; the base is spread over the word
        0x89 << 40 | limit | (state_address & 0xff_ffff) << 16 | (state_address >> 24 & 0xff) << 56,
        state_address >> 32,
        0,
        0,
        0,
        0,
        0,
        place_segment(local.id.get(), 0),
    ];
    let gates = INTERRUPT_TABLE.call_once(|| core::array::from_fn(|vector| Gate::new(vector as u8)));
    let pointer = |address: usize, bytes: usize| DescriptorTablePointer {
        limit: bytes as u16 - 1,
        base: VirtAddr::new(address as u64),
    };
    // SAFETY: the table lives for ever (in `local`) and holds valid descriptors for every selector loaded here;
    // kernel code and data keep their meaning in 64-bit mode, FS and GS are null with bases set by others.
    unsafe {
        lgdt(&pointer(core::ptr::from_ref(table).expose_provenance(), size_of::<SegmentTable>()));
        CS::set_reg(SegmentSelector(KERNEL_CODE));
        SS::set_reg(SegmentSelector(KERNEL_DATA));
        for null in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
            null(SegmentSelector(0));
        }
        load_tss(SegmentSelector(TASK_STATE));
    }
    // SAFETY: the gates live for ever, each leads to a stub made for its vector, and the code selector was
    // loaded above.
    unsafe { lidt(&pointer(gates.as_ptr().expose_provenance(), size_of_val(gates))) };
}
