//! The end of the machine.

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// The status that `/dev/qemu-exit` was given; -1 if none was.
static EXIT_STATUS: AtomicI32 = AtomicI32::new(-1);

/// Sets the status that the machine tells when it is switched off (`/dev/qemu-exit`).
pub fn set_exit_status(status: u8) {
    EXIT_STATUS.store(status.into(), Relaxed);
}

/// Switches the machine off; tells the exit status before, if one was set.
pub fn off() -> ! {
    let status = EXIT_STATUS.load(Relaxed);
    if status >= 0 {
        machine::log_urgent!("menagerie: exit status {status}");
    }
    machine::power::off()
}
