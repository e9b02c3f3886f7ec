//! What the lower floors call up to, filled in once at boot.

use machine::interrupts::{HANDLERS, Handlers};

/// Interrupts that need more than the machine's own answer.
struct Interrupts;

impl Handlers for Interrupts {
    fn timer(&self) {
        sched::on_timer();
    }

    fn reschedule(&self) {
        sched::on_reschedule();
    }

    fn console_input(&self, _port: u8, _bytes: &[u8]) {}
}

/// Fills all hooks.
pub fn install() {
    HANDLERS.install(&Interrupts);
}
