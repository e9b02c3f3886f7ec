//! Who pays for what the kernel spends for tasks: the states of their containers in those subsystems that ask.

use crate::{
    set::States,
    state::{Kept, Lineage, State},
    subsystem::Subsystem,
};
use alloc::vec::Vec;
use base::charge::{Payer, Refused, Resource, Severity};
use machine::sync::Arc;

/// How to have one subsystem pay.
#[derive(Clone, Copy)]
pub(crate) struct Charger {
    pub(crate) subsystem: usize,
    /// A state of this subsystem as a payer.
    pub(crate) payer: fn(&Arc<dyn State>) -> Arc<dyn Payer>,
}

/// The payer of a set whose tasks are in `states`, of which those that `chargers` name pay; none if nobody asks for charges. It
/// holds states, not containers: a charge that outlives its task keeps no container and no set.
pub(crate) fn payer_of(chargers: &[Charger], states: &States) -> Option<Arc<dyn Payer>> {
    let paying = |charger: &Charger| states[charger.subsystem].as_ref().map(charger.payer);
    match chargers {
        [] => None,
        [only] => paying(only),
        several => Some(Arc::new(Several(several.iter().filter_map(paying).collect()))),
    }
}

impl<S: Subsystem> Payer for Kept<S> {
    fn charge(&self, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
        S::charge(Lineage::of(self), resource, amount, severity)
    }

    fn uncharge(&self, resource: Resource, amount: u64) {
        S::uncharge(Lineage::of(self), resource, amount);
    }
}

/// Subsystems that all have to pay.
struct Several(Vec<Arc<dyn Payer>>);

impl Payer for Several {
    fn charge(&self, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
        for (index, payer) in self.0.iter().enumerate() {
            if let Err(refused) = payer.charge(resource, amount, severity) {
                self.0[..index].iter().for_each(|payer| payer.uncharge(resource, amount));
                return Err(refused);
            }
        }
        Ok(())
    }

    fn uncharge(&self, resource: Resource, amount: u64) {
        self.0.iter().for_each(|payer| payer.uncharge(resource, amount));
    }
}
