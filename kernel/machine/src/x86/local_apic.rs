//! The local APIC of each CPU: end of interrupt, timer, interrupts to other CPUs.
//!
//! x2APIC where the processor has it, else xAPIC through one mapping that all CPUs share: its address means the
//! APIC of the CPU that uses it.

use super::interrupts::{InterruptsOff, vector};
use super::{cpu, kernel_map};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};
use spin::Once;
use x2apic::lapic::{LocalApic, LocalApicBuilder, TimerDivide, TimerMode};
use x86_64::registers::model_specific::Msr;

const APIC_BASE: u32 = 0x1b;
const X2APIC_ENABLED: u64 = 1 << 10;
const TSC_DEADLINE: u32 = 0x6e0;

/// The timer counts bus cycles divided by this.
const TIMER_DIVIDE: TimerDivide = TimerDivide::Div16;

static REGISTERS: Once<u64> = Once::new();
/// The same on all CPUs.
static X2APIC: AtomicBool = AtomicBool::new(false);

/// A CPU's own local APIC, in its block. Each method is for the CPU that owns the block, interrupts off.
pub(super) struct LocalApicCell(UnsafeCell<Option<LocalApic>>);

impl LocalApicCell {
    pub(super) const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// Lends the APIC to `act`. `act` must not come back here.
    fn with<R>(&self, act: impl FnOnce(&mut LocalApic) -> R) -> Option<R> {
        // SAFETY: the cell is reached only through `cpu::here()` by its own CPU; interrupts are off there (they
        // are in handlers, and the other callers show a guard), and no `act` of this file calls `with`. So
        // this is the only reference to the contents.
        unsafe { (*self.0.get()).as_mut() }.map(act)
    }

    /// Switches this CPU's APIC on; its timer is silent.
    pub(super) fn init(&self) {
        let deadline = cpu::features().tsc_deadline;
        let mode = if deadline { TimerMode::TscDeadline } else { TimerMode::OneShot };
        let registers = *REGISTERS.call_once(|| {
            // SAFETY: every x86-64 processor has this register.
            let base = unsafe { x2apic::lapic::xapic_base() };
            kernel_map::map_device(base, 4096).expose_provenance() as u64
        });
        let apic = LocalApicBuilder::new()
            .timer_vector(vector::TIMER.into())
            .error_vector(vector::ERROR.into())
            .spurious_vector(vector::SPURIOUS.into())
            .timer_mode(mode)
            .timer_divide(TIMER_DIVIDE)
            .timer_initial(0)
            .set_xapic_base(registers)
            .build();
        let mut apic = apic.expect("the vectors and the address of the registers are set");
        // SAFETY: the registers are mapped for ever, uncached; this CPU's vectors all have entries in its
        // interrupt table. Nobody else uses this APIC: the value goes into this CPU's cell.
        unsafe {
            apic.enable();
            *self.0.get() = Some(apic);
        }
        // SAFETY: every x86-64 processor has this register.
        let enabled = unsafe { Msr::new(APIC_BASE).read() & X2APIC_ENABLED != 0 };
        X2APIC.store(enabled, Ordering::Relaxed);
        // The timer's mode was set through memory, and a deadline goes to a register: the order must be kept.
        core::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Says that the interrupt being served is done with.
    #[inline]
    pub(super) fn end_of_interrupt(&self) {
        // SAFETY: called by the handler of an interrupt that the APIC has in service.
        self.with(|apic| unsafe { apic.end_of_interrupt() });
    }

    /// The error bits.
    pub(super) fn errors(&self) -> u8 {
        // SAFETY: reading them has no effect.
        self.with(|apic| unsafe { apic.error_flags() }.bits()).unwrap_or(0)
    }

    /// Starts the one-shot timer: an interrupt after `count` ticks; 0 stops it.
    pub(super) fn start_timer(&self, count: u32) {
        // SAFETY: the worst that can come is the timer's interrupt, which has a handler.
        self.with(|apic| unsafe { apic.set_timer_initial(count) });
    }

    /// The ticks that are left of the one-shot timer.
    pub(super) fn timer_count(&self) -> u32 {
        // SAFETY: reading it has no effect.
        self.with(|apic| unsafe { apic.timer_current() }).unwrap_or(0)
    }
}

/// Whether the APICs are x2APICs. After the boot CPU's [`LocalApicCell::init`].
#[inline]
pub(super) fn is_x2apic() -> bool {
    X2APIC.load(Ordering::Relaxed)
}

/// Sets the absolute deadline of this CPU's timer, in TSC cycles; 0 stops it. Only with that feature.
#[inline]
pub(super) fn set_deadline(cycles: u64) {
    // SAFETY: the register exists where `features().tsc_deadline` says so, which callers checked; the worst
    // that can come is the timer's interrupt, which has a handler.
    unsafe { Msr::new(TSC_DEADLINE).write(cycles) };
}

/// The destination field of a command for the APIC number `apic_id`; `None` if this APIC can't name it.
fn destination(apic_id: u32) -> Option<u32> {
    if is_x2apic() { Some(apic_id) } else { (apic_id < 255).then_some(apic_id << 24) }
}

/// Gives a command for another CPU's APIC, after the one before has left.
fn command(_off: &InterruptsOff, apic_id: u32, give: impl FnOnce(&mut LocalApic, u32)) {
    let Some(destination) = destination(apic_id) else { return };
    let wait = !is_x2apic();
    cpu::here().local_apic.with(|apic| {
        // An xAPIC loses a command that is overwritten before it is sent.
        // SAFETY: reading the status has no effect.
        while wait && unsafe { apic.get_ipi_delivery_status() } {
            core::hint::spin_loop();
        }
        give(apic, destination);
    });
}

/// Interrupts the CPU that has APIC number `apic_id`.
pub(super) fn send(off: &InterruptsOff, apic_id: u32, vector: u8) {
    // SAFETY: the vectors in use all have handlers on every CPU that is online.
    command(off, apic_id, |apic, to| unsafe { apic.send_ipi(vector, to) });
}

/// Sends a non-maskable interrupt.
pub(super) fn send_non_maskable(off: &InterruptsOff, apic_id: u32) {
    // SAFETY: the handler copes with one at any time: it has a stack of its own and looks at GS first.
    command(off, apic_id, |apic, to| unsafe { apic.send_nmi(to) });
}

/// Resets a CPU: it waits for a start-up command then.
pub(super) fn send_init(off: &InterruptsOff, apic_id: u32) {
    // SAFETY: for CPUs that don't run the kernel (yet): see `smp`.
    command(off, apic_id, |apic, to| unsafe { apic.send_init_ipi(to) });
}

/// Starts a CPU that was reset, in real mode at `page` (an address of a whole page below 1 MiB).
pub(super) fn send_start_up(off: &InterruptsOff, apic_id: u32, page: u64) {
    // SAFETY: the start-up code lies there: see `smp`.
    command(off, apic_id, |apic, to| unsafe { apic.send_sipi((page >> 12) as u8, to) });
}
