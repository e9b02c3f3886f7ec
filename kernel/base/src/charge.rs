//! charge: what the kernel spends for tasks, and who pays for it.
//!
//! A [`Payer`] is a counted reference to the containers that pay. An object keeps the one that paid for it, so it gives
//! back to the same containers even when its task has moved or died, or the containers are removed.
//! Rule: interfaces.md, sections 19 and 22.

use alloc::sync::Arc;

/// Something that the kernel spends and that can be counted and limited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Resource {
    /// Kernel memory behind the objects of user programs, bytes.
    KernelMemory,
    /// Private writable memory that was promised, touched or not, pages.
    PrivatePages,
    /// Mapped pages of address spaces.
    PhysicalPages,
    /// Tasks.
    Tasks,
    /// Open file descriptions.
    Files,
    /// Pages that were locked in memory.
    LockedPages,
    /// Pages of tmpfs and of shared memory.
    SharedPages,
    /// Pseudo-terminals.
    Terminals,
    /// Queued signals.
    Signals,
}

impl Resource {
    /// How many resources there are.
    pub const COUNT: usize = 9;
}

/// How much a charge may be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// Refused over the barrier.
    Barrier,
    /// Refused over the limit, which is at or above the barrier: for what can't well be refused.
    Limit,
    /// Never refused.
    Force,
}

/// A charge was refused; nothing was charged. The caller knows which errno that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

/// Who pays. Both methods may be called with any lock held and never sleep.
pub trait Payer: Send + Sync {
    /// Charges `amount`, at every level or at none.
    fn charge(&self, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused>;
    /// Gives back what was charged before.
    fn uncharge(&self, resource: Resource, amount: u64);

    /// Charges all of `price`, or nothing.
    fn charge_all(&self, price: Price, severity: Severity) -> Result<(), Refused> {
        for (index, &(resource, amount)) in price.iter().enumerate() {
            if let Err(refused) = self.charge(resource, amount, severity) {
                self.uncharge_all(&price[..index]);
                return Err(refused);
            }
        }
        Ok(())
    }

    /// Gives back what was charged by [`charge_all`](Self::charge_all).
    fn uncharge_all(&self, price: Price) {
        price.iter().for_each(|&(resource, amount)| self.uncharge(resource, amount));
    }
}

/// Amounts of resources that an object costs.
pub type Price = &'static [(Resource, u64)];

/// A price that was paid. Dropped, it is given back to who paid.
pub struct Charge {
    payer: Arc<dyn Payer>,
    price: Price,
}

impl Charge {
    /// Has `payer` pay all of `price`, or nothing.
    #[inline]
    pub fn take(payer: Arc<dyn Payer>, price: Price, severity: Severity) -> Result<Self, Refused> {
        payer.charge_all(price, severity)?;
        Ok(Self { payer, price })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.payer.uncharge_all(self.price);
    }
}

/// An amount of one resource that was paid. Dropped, it is given back to who paid.
pub struct Amount {
    payer: Arc<dyn Payer>,
    resource: Resource,
    amount: u64,
}

impl Amount {
    /// Has `payer` pay.
    pub fn take(payer: Arc<dyn Payer>, resource: Resource, amount: u64, severity: Severity) -> Result<Self, Refused> {
        payer.charge(resource, amount, severity)?;
        Ok(Self { payer, resource, amount })
    }

    /// The charge stays: somebody else gives it back.
    pub fn keep(mut self) {
        self.amount = 0;
    }
}

impl Drop for Amount {
    fn drop(&mut self) {
        if self.amount > 0 {
            self.payer.uncharge(self.resource, self.amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    struct Purse(AtomicU64);

    impl Payer for Purse {
        fn charge(&self, _resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
            let fits = |held: u64| (severity == Severity::Force || held + amount <= 10).then_some(held + amount);
            self.0.fetch_update(Relaxed, Relaxed, fits).map(drop).map_err(|_| Refused)
        }
        fn uncharge(&self, _resource: Resource, amount: u64) {
            self.0.fetch_sub(amount, Relaxed);
        }
    }

    #[test]
    fn a_price_is_paid_whole_or_not_at_all_and_given_back() {
        let purse = Arc::new(Purse(AtomicU64::new(0)));
        let price: Price = &[(Resource::Files, 1), (Resource::KernelMemory, 5)];
        let first = Charge::take(purse.clone(), price, Severity::Barrier).unwrap();
        assert!(Charge::take(purse.clone(), price, Severity::Barrier).is_err());
        assert_eq!(purse.0.load(Relaxed), 6);
        let forced = Charge::take(purse.clone(), price, Severity::Force).unwrap();
        assert_eq!(purse.0.load(Relaxed), 12);
        drop((first, forced));
        assert_eq!(purse.0.load(Relaxed), 0);
    }
}
