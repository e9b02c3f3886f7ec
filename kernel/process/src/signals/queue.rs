//! Signals that wait to be delivered, to one thread or to a whole process.

use super::{Signal, SignalInfo, SignalSet};
use crate::accounts::SignalShare;
use alloc::{collections::VecDeque, sync::Arc};
use base::charge::{Payer, Price, Refused, Resource, Severity};

/// What a queued signal takes up: what was paid for it, and its place among those of its user.
#[derive(Default)]
pub struct Place {
    payer: Option<Arc<dyn Payer>>,
    _share: Option<SignalShare>,
}

/// What a queued signal costs: about so many bytes.
const PRICE: Price = &[(Resource::Signals, 1), (Resource::KernelMemory, 256)];
const _: () = assert!(size_of::<SignalInfo>() + size_of::<Place>() + super::info::SIZE <= 256);

impl Place {
    /// Has `payer` pay for a signal, if there is one.
    pub fn paid(payer: Option<Arc<dyn Payer>>) -> Result<Self, Refused> {
        if let Some(payer) = &payer {
            payer.charge_all(PRICE, Severity::Barrier)?;
        }
        Ok(Self { payer, _share: None })
    }

    /// The same with its place among those of a user.
    #[must_use]
    pub fn with_share(mut self, share: Option<SignalShare>) -> Self {
        self._share = share;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(payer) = &self.payer {
            payer.uncharge_all(PRICE);
        }
    }
}

/// Signals that were sent and not yet taken. A standard signal waits once; a real-time signal as often as it was sent,
/// in order.
#[derive(Default)]
pub struct SignalQueue {
    set: SignalSet,
    queue: VecDeque<(SignalInfo, Place)>,
}

impl SignalQueue {
    /// No signal waits.
    pub const fn new() -> Self {
        Self { set: SignalSet::EMPTY, queue: VecDeque::new() }
    }

    /// Which signals wait.
    pub const fn set(&self) -> SignalSet {
        self.set
    }

    /// How many are queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether one more of this signal is merged with one that waits already.
    pub fn merges(&self, signal: Signal) -> bool {
        !signal.is_real_time() && self.set.contains(signal)
    }

    /// Adds a signal with its place; if that was refused, or there is no memory, only its number, for which there is always
    /// room. One that is [merged](SignalQueue::merges) changes nothing; then the answer is false.
    pub fn push(&mut self, info: SignalInfo, place: Result<Place, Refused>) -> bool {
        let waits = self.set.contains(info.signal);
        if self.merges(info.signal) {
            return false;
        }
        self.set.insert(info.signal);
        match place {
            Ok(place) if self.queue.try_reserve(1).is_ok() => self.queue.push_back((info, place)),
            _ => return !waits,
        }
        true
    }

    /// Takes the next signal that is not in `blocked`.
    #[inline]
    pub fn take(&mut self, blocked: SignalSet) -> Option<SignalInfo> {
        let signal = self.set.without(blocked).first()?;
        Some(self.take_one(signal))
    }

    fn take_one(&mut self, signal: Signal) -> SignalInfo {
        let info = self.take_facts(signal).unwrap_or_else(|| SignalInfo::bare(signal));
        if !signal.is_real_time() || !self.queue.iter().any(|(other, _)| other.signal == signal) {
            self.set.remove(signal);
        }
        info
    }

    /// Takes the first that is queued of `signal`.
    fn take_facts(&mut self, signal: Signal) -> Option<SignalInfo> {
        let is_first = self.queue.front().is_some_and(|(info, _)| info.signal == signal);
        let (info, _) = if is_first { self.queue.pop_front()? } else { self.remove_later(signal)? };
        Some(info)
    }

    #[cold]
    fn remove_later(&mut self, signal: Signal) -> Option<(SignalInfo, Place)> {
        let at = self.queue.iter().position(|(info, _)| info.signal == signal)?;
        self.queue.remove(at)
    }

    /// The signals that wait with their facts, in the order in which they came.
    pub fn shown(&self) -> impl Iterator<Item = &SignalInfo> {
        self.queue.iter().map(|(info, _)| info)
    }

    /// Forgets all waiting signals of `set`.
    pub fn discard(&mut self, set: SignalSet) {
        if !self.set.and(set).is_empty() {
            self.queue.retain(|(info, _)| !set.contains(info.signal));
            self.set = self.set.without(set);
        }
    }

    /// Whether a POSIX timer's earlier expiry still waits; then `add` more are counted as overrun.
    pub fn merge_timer(&mut self, timer: i32, add: i32) -> bool {
        use super::Detail;
        let waiting = self.queue.iter_mut().find_map(|(info, _)| match &mut info.detail {
            Detail::Timer { id, overrun, .. } if *id == timer => Some(overrun),
            _ => None,
        });
        if let Some(overrun) = waiting {
            *overrun = overrun.saturating_add(add);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Detail, code};
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn info(number: u8, value: u64) -> SignalInfo {
        let detail = Detail::Timer { id: 0, overrun: 0, value };
        SignalInfo { signal: Signal::new(number.into()).unwrap(), code: code::TIMER, detail }
    }

    #[test]
    fn a_signal_without_room_for_its_facts_is_delivered_once() {
        let mut queue = SignalQueue::new();
        let signal = Signal::new(40).unwrap();
        assert!(queue.push(info(40, 1), Err(Refused)));
        assert!(!queue.push(info(40, 1), Err(Refused)));
        assert_eq!(queue.len(), 0);
        assert_eq!(queue.take(SignalSet::EMPTY), Some(SignalInfo::bare(signal)));
        assert_eq!(queue.take(SignalSet::EMPTY), None);
    }

    proptest! {
        /// Against the plainest model: a list, searched for the best number each time.
        #[test]
        fn the_queue_and_a_plain_list_agree(
            steps in proptest::collection::vec((any::<bool>(), 1u8..=64, any::<u64>()), 1..80),
        ) {
            let mut real = SignalQueue::new();
            let mut model: Vec<SignalInfo> = Vec::new();
            for (push, number, bits) in steps {
                if push {
                    let one = info(number, bits);
                    let merged = number < 32 && model.iter().any(|other| other.signal.number() == number);
                    if !merged {
                        model.push(one.clone());
                    }
                    prop_assert_eq!(real.push(one, Ok(Place::default())), !merged);
                } else {
                    let blocked = SignalSet::from_bits(bits);
                    let rank = |one: &SignalInfo| {
                        (!SignalSet::SYNCHRONOUS.contains(one.signal), one.signal.number())
                    };
                    let best = model.iter().enumerate()
                        .filter(|(_, one)| !blocked.contains(one.signal))
                        .min_by_key(|(at, one)| (rank(one), *at)).map(|(at, _)| at);
                    prop_assert_eq!(real.take(blocked), best.map(|at| model.remove(at)));
                }
                let expected = model.iter().fold(SignalSet::EMPTY, |mut set, one| { set.insert(one.signal); set });
                prop_assert_eq!(real.set(), expected);
                prop_assert_eq!(real.len(), model.len());
            }
        }
    }
}
