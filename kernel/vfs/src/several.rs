//! `poll(2)` and `select(2)`: waiting for several descriptors at once.

use crate::{FileTable, OpenFile, PollEvents, PollTable};
use alloc::{sync::Arc, vec::Vec};
use base::Errno;
use sched::{Observer, WaitError, Waiter};

/// What a call asks about descriptors, and where the answers go.
pub trait PollRequests {
    /// Calls `look` with each descriptor that is asked about and what is asked, and keeps the answers: what was asked for
    /// and is there, [`ERROR`](PollEvents::ERROR) and [`HANG_UP`](PollEvents::HANG_UP), or
    /// [`INVALID`](PollEvents::INVALID) for one that is not open. Says for how many there is something to tell.
    ///
    /// Always the same descriptors in the same order. A spinning lock may be held: it must neither sleep nor free.
    fn answer(&mut self, look: impl FnMut(i32, PollEvents) -> PollEvents) -> usize;
}

/// Always reported, asked for or not.
pub(crate) const UNASKED: PollEvents = PollEvents::ERROR.union(PollEvents::HANG_UP);

/// So many files are looked at before others get their turn at the table.
const TOGETHER: u32 = 16;

/// Whether a deadline (boot time, ns) is past.
pub(crate) fn is_past(deadline: Option<u64>) -> bool {
    deadline.is_some_and(|deadline| deadline == 0 || deadline <= machine::time::now())
}

/// Waits until there is something to tell or `deadline` (boot time, ns; `None` forever, 0 is always past) is past; says for
/// how many requests there is. `EINTR`.
#[inline]
pub fn poll(table: &FileTable, requests: &mut impl PollRequests, deadline: Option<u64>) -> Result<usize, Errno> {
    let ready = look(table, requests);
    if ready > 0 || is_past(deadline) { Ok(ready) } else { wait(table, requests, deadline) }
}

/// What is ready now. The table stays locked from one file to the next where the looks are short.
#[inline(never)]
fn look(table: &FileTable, requests: &mut impl PollRequests) -> usize {
    let (mut locked, mut left) = (None, TOGETHER);
    requests.answer(|descriptor, events| {
        if left == 0 {
            // Unlocked before it is locked again.
            locked = None;
            left = TOGETHER;
        }
        left -= 1;
        let entries = locked.get_or_insert_with(|| table.entries());
        let found = match entries.file(descriptor).map(|file| file.glance()) {
            Some(Some(found)) => found,
            Some(None) => {
                locked = None;
                look_unlocked(table, descriptor)
            }
            None => return PollEvents::INVALID,
        };
        found & (events | UNASKED)
    })
}

/// A look that may sleep, or take any lock.
#[cold]
fn look_unlocked(table: &FileTable, descriptor: i32) -> PollEvents {
    table.get(descriptor).map_or(PollEvents::INVALID, |file| file.poll(&mut PollTable::look()))
}

#[cold]
fn wait(table: &FileTable, requests: &mut impl PollRequests, deadline: Option<u64>) -> Result<usize, Errno> {
    // The files are held from here on, so that the queues that are watched live as long as the watching.
    let mut files: Vec<Option<Arc<OpenFile>>> = Vec::new();
    requests.answer(|descriptor, _| {
        files.push(table.get(descriptor).ok());
        PollEvents::empty()
    });
    let waiter = Waiter::new();
    let observer: Arc<dyn Observer> = waiter.clone();
    let mut registrations = Vec::new();
    let mut watch = true;
    loop {
        let mut each = files.iter();
        let ready = requests.answer(|_, events| {
            let mut table = if watch { PollTable::watch_for(&observer, &mut registrations) } else { PollTable::look() };
            match each.next() {
                Some(Some(file)) => file.poll(&mut table) & (events | UNASKED),
                _ => PollEvents::INVALID,
            }
        });
        watch = false;
        if ready > 0 {
            return Ok(ready);
        }
        match waiter.wait(deadline) {
            Ok(()) => {}
            Err(WaitError::TimedOut) => return Ok(look(table, requests)),
            Err(WaitError::Interrupted) => return Err(Errno::EINTR),
        }
    }
}
