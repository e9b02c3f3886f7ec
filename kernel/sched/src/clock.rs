//! The load averages, sampled every five seconds.

use crate::{Timer, TimerCall, cpu};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::{sync::Hook, time};

/// Five seconds.
const INTERVAL: u64 = 5_000_000_000;
/// Fraction bits of an average.
const BITS: u32 = 11;
/// How much of the old average stays after one interval, for 1, 5 and 15 minutes: 2048 / e^(5 s / span).
const DECAY: [u64; 3] = [1884, 2014, 2037];

static LOAD: Hook<Load> = Hook::new();

struct Load {
    averages: [AtomicU64; 3],
    timer: Timer,
}

impl TimerCall for Load {
    fn expired(&self) {
        let active = (cpu::runnable() as u64) << BITS;
        for (average, decay) in self.averages.iter().zip(DECAY) {
            average.store(step(average.load(Relaxed), decay, active), Relaxed);
        }
        self.timer.set(time::now() + INTERVAL);
    }
}

/// An average after one more sample; rounded up while the load rises, so that it can be reached.
fn step(old: u64, decay: u64, active: u64) -> u64 {
    let mixed = old * decay + active * ((1 << BITS) - decay);
    let rounding = if active >= old { (1 << BITS) - 1 } else { 0 };
    (mixed + rounding) >> BITS
}

/// Starts the sampling.
pub(crate) fn start() {
    let load = Arc::new_cyclic(|this: &Weak<Load>| {
        let target: Weak<dyn TimerCall> = this.clone();
        Load { averages: Default::default(), timer: Timer::new(target) }
    });
    load.timer.set(time::now() + INTERVAL);
    // It lives as long as the machine.
    let load: &'static Arc<Load> = alloc::boxed::Box::leak(alloc::boxed::Box::new(load));
    LOAD.install(load);
}

/// The load averages over 1, 5 and 15 minutes, in units of 1/2048.
pub fn load_averages() -> [u64; 3] {
    LOAD.get().map_or([0; 3], |load| [0, 1, 2].map(|index| load.averages[index].load(Relaxed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_is_reached_and_left() {
        let mut average = 0;
        (0..200).for_each(|_| average = step(average, DECAY[0], 2 << BITS));
        assert_eq!(average, 2 << BITS);
        (0..400).for_each(|_| average = step(average, DECAY[0], 0));
        assert_eq!(average, 0);
    }
}
