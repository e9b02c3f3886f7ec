//! Who pays for what the kernel spends for tasks: the states of their containers in those subsystems that ask.

use crate::{set::States, state::State};
use alloc::vec::Vec;
use base::charge::{Payer, Refused, Resource, Severity};
use machine::sync::Arc;

/// How one subsystem is charged.
#[derive(Clone, Copy)]
pub(crate) struct Charger {
    pub(crate) subsystem: usize,
    pub(crate) charge: fn(&State, Resource, u64, Severity) -> Result<(), Refused>,
    pub(crate) uncharge: fn(&State, Resource, u64),
}

/// The payer of a container set. It holds states, not containers: a charge that outlives its task keeps no container and
/// no set.
pub(crate) struct SetPayer(Vec<(Charger, Arc<State>)>);

impl SetPayer {
    /// The payer made of those `states` that `chargers` name; none if nobody asks for charges.
    pub(crate) fn of(chargers: &[Charger], states: &States) -> Option<alloc::sync::Arc<Self>> {
        if chargers.is_empty() {
            return None;
        }
        let paying = chargers.iter().filter_map(|charger| Some((*charger, states[charger.subsystem].clone()?)));
        Some(alloc::sync::Arc::new(Self(paying.collect())))
    }
}

impl Payer for SetPayer {
    fn charge(&self, resource: Resource, amount: u64, severity: Severity) -> Result<(), Refused> {
        for (index, (charger, state)) in self.0.iter().enumerate() {
            if let Err(refused) = (charger.charge)(state, resource, amount, severity) {
                self.0[..index].iter().for_each(|(charger, state)| (charger.uncharge)(state, resource, amount));
                return Err(refused);
            }
        }
        Ok(())
    }

    fn uncharge(&self, resource: Resource, amount: u64) {
        self.0.iter().for_each(|(charger, state)| (charger.uncharge)(state, resource, amount));
    }
}
