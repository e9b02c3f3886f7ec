//! Turning interrupts off on this CPU, and who handles those that arrive.

use crate::sync::Hook;

pub use crate::arch::interrupts::{InterruptsOff, counts, enabled, off};

/// How many interrupts of each kind a CPU has served since boot.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Of its own timer.
    pub timer: u64,
    /// From CPUs that want it to look at its run queue.
    pub reschedule: u64,
    /// From CPUs that want a function called.
    pub call: u64,
    /// From itself, as the kernel log has grown.
    pub log: u64,
    /// Of the serial lines COM1 and COM2.
    pub serial: [u64; 2],
    /// That went away before they were served.
    pub spurious: u64,
    /// Errors that its local APIC reported.
    pub errors: u64,
}

impl Counts {
    /// All of them.
    pub fn sum(&self) -> u64 {
        let [first, second] = self.serial;
        self.timer + self.reschedule + self.call + self.log + first + second + self.spurious + self.errors
    }
}

/// What the kernel does when an interrupt arrives; called on the interrupted CPU with interrupts off.
///
/// It may take only [`crate::sync::IrqLock`]s and must not block.
pub trait Handlers: Sync {
    /// The deadline given to [`crate::timer::set`] has passed.
    fn timer(&self);
    /// Another CPU called [`crate::ipi::reschedule`] for this one.
    fn reschedule(&self);
    /// The kernel log has grown since the last call, on this CPU.
    fn log_grown(&self);
    /// Bytes arrived on serial port `port` (0 is COM1).
    fn console_input(&self, port: u8, bytes: &[u8]);
}

/// Filled once at boot.
pub static HANDLERS: Hook<dyn Handlers> = Hook::new();
