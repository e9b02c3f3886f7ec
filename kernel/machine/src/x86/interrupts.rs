//! The interrupt flag.

use core::marker::PhantomData;
use x86_64::instructions::interrupts;

/// Keeps interrupts off until dropped, then sets them as they were.
#[derive(Debug)]
pub struct InterruptsOff {
    were_on: bool,
    not_send: PhantomData<*const ()>,
}

/// Turns interrupts off on this CPU.
pub fn off() -> InterruptsOff {
    let were_on = interrupts::are_enabled();
    interrupts::disable();
    InterruptsOff { were_on, not_send: PhantomData }
}

/// Whether interrupts are on.
pub fn enabled() -> bool {
    interrupts::are_enabled()
}

impl Drop for InterruptsOff {
    fn drop(&mut self) {
        if self.were_on {
            interrupts::enable();
        }
    }
}
