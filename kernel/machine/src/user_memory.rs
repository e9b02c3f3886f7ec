//! Reading and writing the memory of the current user address space.

use crate::sync::Hook;
use base::Errno;

/// Makes a page of user memory present when a copy by the kernel found it missing.
pub trait FaultHandler: Sync {
    /// Called on the faulting task's stack with interrupts on. `Ok`: try the access again; an error ends the
    /// copy with it.
    fn fault(&self, address: u64, write: bool) -> Result<(), Errno>;
}

/// Filled once at boot.
pub static FAULTS: Hook<dyn FaultHandler> = Hook::new();
