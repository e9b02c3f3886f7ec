//! What sleeping locks sleep by: wait queues found by the lock's address.

use crate::WaitQueue;
use machine::sync::{PARKER, Parker};

/// Locks share queues when their addresses fall together; then a wake-up may wake one who has to look again.
const QUEUES: usize = 256;

struct Queues {
    queues: [WaitQueue; QUEUES],
}

impl Queues {
    fn of(&self, address: usize) -> &WaitQueue {
        &self.queues[(address >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56]
    }
}

impl Parker for Queues {
    fn wait_until(&self, address: usize, done: &mut dyn FnMut() -> bool) {
        self.of(address).wait_until(|| done().then_some(()));
    }

    fn wake_one(&self, address: usize) {
        // The longest waiting of this queue may wait for another lock: all have to look.
        self.of(address).wake_all();
    }

    fn wake_all(&self, address: usize) {
        self.of(address).wake_all();
    }
}

static QUEUES_OF_LOCKS: Queues = Queues { queues: [const { WaitQueue::new() }; QUEUES] };

/// From here on sleeping locks sleep.
pub(crate) fn install() {
    PARKER.install(&QUEUES_OF_LOCKS);
}
