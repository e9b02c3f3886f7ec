//! How much of its CPU a queue has for the tasks that share by virtual time, where others go first.

use super::claim::CPU;

/// How often that is looked at, in nanoseconds.
const INTERVAL: u64 = 100_000_000;

/// What those who go first have taken lately.
#[derive(Debug, Default)]
pub(super) struct Taken {
    ns: u64,
    since: u64,
}

impl Taken {
    /// They have run for `ns` nanoseconds more at the time `now`, and are all gone if it `is_over`. What is left of the CPU, in
    /// parts of [`CPU`], if it is time to say.
    pub(super) fn charge(&mut self, ns: u64, now: u64, is_over: bool) -> Option<u64> {
        self.ns += ns;
        let time = now.saturating_sub(self.since);
        if !is_over && time < INTERVAL {
            return None;
        }
        let Self { ns, .. } = core::mem::replace(self, Self { ns: 0, since: now });
        Some(if is_over { CPU } else { CPU - CPU * ns.min(time) / time })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Nice, Policy, Priority, Roots, Runnable, Standing};
    use super::*;

    #[test]
    fn groups_are_due_only_what_real_time_and_absent_cpus_leave() {
        let roots = Roots::default();
        let due = || roots.whole.claims.due() as f64 / CPU as f64;
        let mut queues = [0, 1].map(|number| Runnable::new(number, &roots));
        assert_eq!(due(), 2.0);
        for (task, policy) in [('f', Policy::Fifo(Priority::MAX)), ('o', Policy::Other)] {
            let standing = Standing::new_task(Nice::default().weight());
            queues[0].add(policy.class(Nice::default(), None), None, task, standing);
        }
        let run = |queue: &mut Runnable<char>, milliseconds: core::ops::Range<u64>| {
            for now in milliseconds {
                queue.pick(now * 1_000_000);
                queue.charge(1_000_000, (now + 1) * 1_000_000);
                queue.put_back();
            }
        };
        run(&mut queues[0], 0..1_900);
        assert!((1.0..1.1).contains(&due()), "{}", due());
        queues[0].remove(None, |&task| task == 'f').unwrap();
        run(&mut queues[0], 1_900..4_000);
        assert_eq!(due(), 2.0);
        queues[1].close(0);
        assert_eq!(due(), 1.0);
        queues[1].open();
        assert_eq!(due(), 2.0);
    }
}
