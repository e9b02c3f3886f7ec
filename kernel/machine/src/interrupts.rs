//! Turning interrupts off on this CPU, and who handles those that arrive.

use crate::sync::Hook;

pub use crate::arch::interrupts::{InterruptsOff, enabled, off};

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
