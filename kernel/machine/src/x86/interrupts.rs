//! The interrupt flag, the numbers of interrupts, and what is done when one arrives.

use super::{console, cpu, ipi};
use crate::interrupts::{Counts, HANDLERS};
use base::CpuId;
use core::marker::PhantomData;
use core::sync::atomic::Ordering::Relaxed;
use x86_64::instructions::interrupts;

/// Numbers of interrupts in the descriptor table; the local APIC serves higher numbers first.
pub(super) mod vector {
    /// Serial line COM2.
    pub const SERIAL_2: u8 = 0x23;
    /// Serial line COM1.
    pub const SERIAL_1: u8 = 0x24;
    /// The first of 16 numbers of the PC's old interrupt controllers, which are masked.
    pub const OLD_CONTROLLERS: u8 = 0x30;
    /// The last of them.
    pub const OLD_CONTROLLERS_LAST: u8 = OLD_CONTROLLERS + 15;
    /// The local APIC's timer.
    pub const TIMER: u8 = 0xec;
    /// The kernel log has grown on this CPU.
    pub const LOG: u8 = 0xf6;
    /// Another CPU wants this one to look at its run queue.
    pub const RESCHEDULE: u8 = 0xfb;
    /// Another CPU wants a function called.
    pub const CALL: u8 = 0xfd;
    /// The local APIC found an error.
    pub const ERROR: u8 = 0xfe;
    /// An interrupt that went away before it was served.
    pub const SPURIOUS: u8 = 0xff;
}

/// Interrupts that are counted apart.
#[derive(Clone, Copy)]
enum Kind {
    Timer,
    Reschedule,
    Call,
    Log,
    SerialFirst,
    SerialSecond,
    Spurious,
    Error,
}

/// How many kinds there are.
pub(super) const KINDS: usize = Kind::Error as usize + 1;

impl Kind {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            vector::TIMER => Self::Timer,
            vector::RESCHEDULE => Self::Reschedule,
            vector::CALL => Self::Call,
            vector::LOG => Self::Log,
            vector::SERIAL_1 => Self::SerialFirst,
            vector::SERIAL_2 => Self::SerialSecond,
            vector::SPURIOUS | vector::OLD_CONTROLLERS..=vector::OLD_CONTROLLERS_LAST => Self::Spurious,
            vector::ERROR => Self::Error,
            _ => return None,
        })
    }
}

/// What `cpu` has served since boot; nothing for a number that no CPU has.
pub fn counts(cpu: CpuId) -> Counts {
    let Some(local) = cpu::local(cpu) else { return Counts::default() };
    let of = |kind: Kind| local.served[kind as usize].load(Relaxed);
    Counts {
        timer: of(Kind::Timer),
        reschedule: of(Kind::Reschedule),
        call: of(Kind::Call),
        log: of(Kind::Log),
        serial: [of(Kind::SerialFirst), of(Kind::SerialSecond)],
        spurious: of(Kind::Spurious),
        errors: of(Kind::Error),
    }
}

/// Keeps interrupts off until dropped, then sets them as they were.
#[derive(Debug)]
pub struct InterruptsOff {
    were_on: bool,
    not_send: PhantomData<*const ()>,
}

/// Turns interrupts off on this CPU.
#[inline]
pub fn off() -> InterruptsOff {
    let were_on = interrupts::are_enabled();
    if were_on {
        interrupts::disable();
    }
    InterruptsOff { were_on, not_send: PhantomData }
}

/// Whether interrupts are on.
#[inline]
pub fn enabled() -> bool {
    interrupts::are_enabled()
}

impl InterruptsOff {
    /// Ends the guard without touching the flag: the caller turns interrupts on itself.
    pub(super) fn forget(self) {
        core::mem::forget(self);
    }
}

impl Drop for InterruptsOff {
    #[inline]
    fn drop(&mut self) {
        if self.were_on {
            interrupts::enable();
        }
    }
}

/// Serves interrupt `number`, interrupts off, on the stack of whatever it interrupted.
pub(super) fn serve(number: u8) {
    let here = cpu::here();
    here.interrupted.set(true);
    if let Some(kind) = Kind::of(number) {
        // Nobody else writes it, so that no locked instruction is needed.
        let count = &here.served[kind as usize];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }
    match number {
        // Spurious: none is in service, so none is ended.
        vector::SPURIOUS | vector::OLD_CONTROLLERS..=vector::OLD_CONTROLLERS_LAST => return,
        vector::ERROR => {
            let flags = here.local_apic.errors();
            here.local_apic.end_of_interrupt();
            crate::log!("apic: CPU {} reports error {flags:#x}", here.id.get());
            return;
        }
        _ => here.local_apic.end_of_interrupt(),
    }
    match number {
        vector::TIMER => {
            if let Some(handlers) = HANDLERS.get() {
                handlers.timer();
            }
        }
        vector::RESCHEDULE => {
            if let Some(handlers) = HANDLERS.get() {
                handlers.reschedule();
            }
        }
        vector::LOG => {
            if let Some(handlers) = HANDLERS.get() {
                handlers.log_grown();
            }
        }
        vector::CALL => ipi::serve_calls(),
        vector::SERIAL_1 => console::receive(0),
        vector::SERIAL_2 => console::receive(1),
        other => crate::log!("interrupts: number {other:#x} came and nobody asked for it"),
    }
}
