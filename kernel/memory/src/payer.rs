//! Who pays for the objects that the kernel makes for tasks: a hook, so that their containers do. (Pages of user memory
//! are another matter: [`crate::charge`].)
//!
//! An object that costs something asks for the running task's payer when it is made and keeps it. The hook stays empty
//! where no controller asks for charges; then nothing is counted, and asking is a load and a branch.

use alloc::sync::Arc;
use base::charge::{Charge, Payer, Price, Refused, Severity};
use machine::sync::Hook;

/// Tells who pays.
pub trait PayerSource: Sync {
    /// Who pays for what the running task asks for; `None` for the kernel itself.
    fn current(&self) -> Option<Arc<dyn Payer>>;
}

/// Who tells it; installed at boot if a controller asks for charges.
pub static PAYERS: Hook<dyn PayerSource> = Hook::new();

/// Who pays for what the running task asks for, if anybody does.
#[inline]
pub fn current() -> Option<Arc<dyn Payer>> {
    PAYERS.get()?.current()
}

/// Has the running task's containers pay, all of the price or nothing. `None` if nobody has to.
#[inline]
pub fn take(price: Price, severity: Severity) -> Result<Option<Charge>, Refused> {
    current().map(|payer| Charge::take(payer, price, severity)).transpose()
}
