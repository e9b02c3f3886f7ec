//! Wait queues: sleeping until something has happened.
//!
//! The sleeper says that it will sleep ([`Rest`](crate::rest::Rest)), enters the queue, and then looks at the condition once
//! more; the waker makes the condition true first and then takes the sleeper from the queue and wakes it. Whichever comes
//! second sees the other.

use crate::{
    Observer, Registration, Timer, TimerCall,
    cpu::{self, Reason, TaskRef},
    freeze,
    observer::Observers,
    rest::{Kind, Round, WaitError, Woken},
    wake,
    watched::Watched,
};
use alloc::{
    collections::VecDeque,
    sync::{Arc, Weak},
};
use machine::{
    sync::{IrqLock, rank},
    time,
};

/// Tasks that wait for an event, and observers of it.
///
/// Who makes a condition true does so first and wakes after; who waits gives the condition as a closure. No wake-up is
/// lost between its check and the sleep. Waking is allowed from interrupts and under any lock that ranks below
/// `WAIT_QUEUE`. The closure may take such locks too, but must not sleep.
pub struct WaitQueue {
    inner: IrqLock<Inner>,
    /// Somebody waits or observes. Changed under the lock.
    watched: Watched,
}

struct Inner {
    sleepers: Sleepers,
    observers: Option<Arc<Observers>>,
}

/// Tasks in the order in which they came. One alone, as most often, needs no memory of the heap.
struct Sleepers {
    /// `None` only if there is nobody.
    first: Option<TaskRef>,
    others: VecDeque<TaskRef>,
}

impl Sleepers {
    const fn new() -> Self {
        Self { first: None, others: VecDeque::new() }
    }

    fn get(&self, index: usize) -> Option<&TaskRef> {
        if index == 0 { self.first.as_ref() } else { self.others.get(index - 1) }
    }

    fn find(&self, task: &TaskRef) -> Option<usize> {
        let mut all = self.first.iter().chain(&self.others);
        all.position(|sleeper| Arc::ptr_eq(sleeper, task))
    }

    fn push(&mut self, task: TaskRef) {
        if self.first.is_none() {
            self.first = Some(task);
        } else {
            self.others.push_back(task);
        }
    }

    fn remove(&mut self, index: usize) -> Option<TaskRef> {
        if index == 0 {
            let next = self.others.pop_front();
            core::mem::replace(&mut self.first, next)
        } else {
            self.others.remove(index - 1)
        }
    }
}

impl WaitQueue {
    /// A queue where nobody waits.
    pub const fn new() -> Self {
        let inner = Inner { sleepers: Sleepers::new(), observers: None };
        Self { inner: IrqLock::new(rank::WAIT_QUEUE, inner), watched: Watched::new() }
    }

    /// Sleeps until `condition` gives a value; signals don't end it.
    pub fn wait_until<R>(&self, condition: impl FnMut() -> Option<R>) -> R {
        match self.wait(Kind::Uninterruptible, None, condition) {
            Ok(value) => value,
            Err(error) => panic!("sched: a wait without end ended: {error:?}"),
        }
    }

    /// Sleeps until `condition` gives a value, the task is interrupted, or `deadline` (nanoseconds since boot) has
    /// passed. A condition that is true wins over both.
    pub fn wait_until_interruptible<R>(
        &self,
        condition: impl FnMut() -> Option<R>,
        deadline: Option<u64>,
    ) -> Result<R, WaitError> {
        self.wait(Kind::Interruptible, deadline, condition)
    }

    /// Sleeps until `condition` gives a value or `deadline` (nanoseconds since boot) has passed; signals don't end it.
    pub fn wait_until_deadline<R>(&self, condition: impl FnMut() -> Option<R>, deadline: u64) -> Option<R> {
        self.wait(Kind::Uninterruptible, Some(deadline), condition).ok()
    }

    fn wait<R>(
        &self,
        kind: Kind,
        deadline: Option<u64>,
        mut condition: impl FnMut() -> Option<R>,
    ) -> Result<R, WaitError> {
        if let Some(value) = condition() {
            return Ok(value);
        }
        let task = wake::current();
        let mut alarm = Alarm::new(deadline);
        let enter = || {
            if let Some(task) = &task {
                self.enter(task);
            }
        };
        let (result, was_woken) = sleep_loop(task.as_ref(), kind, &mut alarm, enter, condition);
        if let Some(task) = &task {
            let was_chosen = !self.leave(task);
            let was_for_it = was_woken && result.is_ok();
            if was_chosen && !was_for_it {
                // Somebody chose this task and woke it; it leaves for another reason, or with what was there before, so the
                // next one is due.
                self.wake_one();
            }
        }
        result
    }

    /// Enters the queue, unless the task is there already.
    #[inline]
    fn enter(&self, task: &TaskRef) {
        let mut inner = self.inner.lock();
        if inner.sleepers.find(task).is_none() {
            inner.sleepers.push(task.clone());
        }
        self.watched.set();
        drop(inner);
        self.watched.before_look();
    }

    #[inline]
    fn leave(&self, task: &TaskRef) -> bool {
        let mut inner = self.inner.lock();
        let was_there = inner.sleepers.find(task).and_then(|index| inner.sleepers.remove(index)).is_some();
        self.note_who_is_left(&inner);
        was_there
    }

    #[inline]
    fn note_who_is_left(&self, inner: &Inner) {
        if inner.sleepers.first.is_none() && inner.observers.is_none() {
            self.watched.clear();
        }
    }

    /// Wakes the task that has waited longest, and tells all observers.
    #[inline]
    pub fn wake_one(&self) {
        if self.watched.may_be() {
            self.wake(1);
        }
    }

    /// Wakes all tasks that wait, and tells all observers.
    #[inline]
    pub fn wake_all(&self) {
        if self.watched.may_be() {
            self.wake(usize::MAX);
        }
    }

    fn wake(&self, most: usize) {
        let mut inner = self.inner.lock();
        let observers = inner.observers.clone();
        let (mut left, mut next) = (most, 0);
        while left > 0
            && let Some(task) = inner.sleepers.get(next)
        {
            if wake::wake(task) == Woken::Frozen {
                // It keeps its place, and the wake-up is for the next.
                next += 1;
                continue;
            }
            left -= 1;
            // The task itself has a reference until it has run; this is never the last one.
            inner.sleepers.remove(next);
        }
        self.note_who_is_left(&inner);
        drop(inner);
        if let Some(observers) = observers {
            observers.notify();
        }
    }

    /// Has `observer` told at each wake-up until the registration is dropped.
    pub fn register(&self, observer: Arc<dyn Observer>) -> Registration {
        let new = Arc::new(Observers::new());
        let mut inner = self.inner.lock();
        let observers = inner.observers.get_or_insert(new).clone();
        self.watched.set();
        drop(inner);
        let registration = observers.register(observer);
        self.watched.before_look();
        registration
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

/// Sleeps until `condition` gives a value; `enter` comes before each look that a sleep may follow, to see that whoever makes
/// it true wakes this task. Where no task runs (before the scheduler, on the host, in what an idle CPU drops) it looks again
/// and again. Besides what has come of it: whether that was found after a sleep, by a task that was woken for it.
pub(crate) fn sleep_loop<R>(
    task: Option<&TaskRef>,
    kind: Kind,
    alarm: &mut Alarm,
    mut enter: impl FnMut(),
    mut condition: impl FnMut() -> Option<R>,
) -> (Result<R, WaitError>, bool) {
    loop {
        let Some(task) = task else {
            if let Some(value) = condition() {
                return (Ok(value), false);
            }
            if has_passed(alarm.deadline) {
                return (Err(WaitError::TimedOut), false);
            }
            poll_pause();
            continue;
        };
        let deadline = alarm.deadline;
        let block = || {
            alarm.start(task);
            cpu::reschedule(Reason::Blocks);
        };
        let look = || {
            enter();
            condition()
        };
        match task.entity().rest.round(kind, look, || has_passed(deadline), block) {
            Round::Ends(result) => return (result, false),
            Round::Freezes => freeze::stay_if_wanted(task),
            // Most are woken because it is true now.
            Round::Again => {
                if let Some(value) = condition() {
                    return (Ok(value), true);
                }
            }
        }
    }
}

#[cfg(target_os = "none")]
fn poll_pause() {
    cpu::pause_outside_tasks();
}

#[cfg(not(target_os = "none"))]
fn poll_pause() {
    std::thread::yield_now();
}

fn has_passed(deadline: Option<u64>) -> bool {
    deadline.is_some_and(|deadline| time::now() >= deadline)
}

/// The deadline of a sleep; the timer is made when it is first needed.
pub(crate) struct Alarm {
    deadline: Option<u64>,
    running: Option<(Timer, Arc<Wakeup>)>,
}

struct Wakeup {
    task: TaskRef,
}

impl TimerCall for Wakeup {
    fn expired(&self) {
        wake::wake(&self.task);
    }
}

impl Alarm {
    pub(crate) fn new(deadline: Option<u64>) -> Self {
        Self { deadline, running: None }
    }

    fn start(&mut self, task: &TaskRef) {
        if let (Some(deadline), None) = (self.deadline, &self.running) {
            let wakeup = Arc::new(Wakeup { task: task.clone() });
            let target: Arc<dyn TimerCall> = wakeup.clone();
            let target: Weak<dyn TimerCall> = Arc::downgrade(&target);
            let timer = Timer::new(target);
            timer.set(deadline);
            self.running = Some((timer, wakeup));
        }
    }
}
