//! Who pays for the objects that the kernel makes for tasks: a hook, so that their containers do. (Pages of user memory
//! are another matter: [`crate::charge`].)
//!
//! An object that costs something asks for the running task's payer when it is made and keeps it. The hook stays empty
//! where no controller asks for charges; then nothing is counted, and asking is a load and a branch.

use alloc::sync::Arc;
use base::charge::{Charge, Payer, Price, Refused, Resource, Severity};
use machine::frame::Frame;
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

/// A page of shared memory, or of a file that is only in memory, paid for by who touched it first.
pub struct SharedPage {
    /// The frame.
    pub frame: Frame,
    _charge: Option<Charge>,
}

impl SharedPage {
    /// A page that nobody pays for.
    pub fn free(frame: Frame) -> Self {
        Self { frame, _charge: None }
    }

    /// Takes another frame, if `make` gives one; returns the old one.
    pub fn exchange(&mut self, make: &mut dyn FnMut(&Frame, u32) -> Option<Frame>) -> Option<Frame> {
        make(&self.frame, 1).map(|new| core::mem::replace(&mut self.frame, new))
    }

    /// Has the running task's containers pay for a page before it is made by `make`. `refusal` is the error if they
    /// don't.
    pub fn new<E>(refusal: E, make: impl FnOnce() -> Result<Frame, E>) -> Result<Self, E> {
        const PRICE: Price = &[(Resource::SharedPages, 1)];
        let charge = take(PRICE, Severity::Barrier).map_err(|Refused| refusal)?;
        Ok(Self { frame: make()?, _charge: charge })
    }
}
