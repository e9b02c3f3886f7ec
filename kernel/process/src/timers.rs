//! Interval timers, `alarm(2)`, POSIX timers and the limit of CPU time.
//!
//! One timer of the scheduler serves a process: it is set to the earliest deadline. When it strikes (in an interrupt),
//! the process is handed to a thread of the kernel, which sends the signals: sending takes locks that an interrupt must
//! not. Timers of CPU time are looked at by the running task itself, on its way back to user mode after a tick.

mod real_time;
mod view;

pub(crate) use real_time::RealTimeUse;
pub use view::TimerView;

use crate::{
    limits::{INFINITY, Resource},
    process::Process,
    signals::{Detail, Signal, SignalInfo, code, send},
    task::Task,
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
};
use base::{Errno, Pid};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use machine::{
    sync::{IrqLock, SpinLock, rank},
    time,
};
use sched::{Timer, TimerCall, WaitQueue};

/// The most POSIX timers of a process.
const MOST_TIMERS: usize = 1024;

/// Which interval timer, `setitimer(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interval {
    /// `ITIMER_REAL`: SIGALRM after real time.
    Real,
    /// `ITIMER_VIRTUAL`: SIGVTALRM after user time of the process.
    Virtual,
    /// `ITIMER_PROF`: SIGPROF after user and system time of the process.
    Profile,
}

impl Interval {
    /// From the first argument of the call; `EINVAL`.
    pub fn new(which: i32) -> Result<Self, Errno> {
        match which {
            0 => Ok(Self::Real),
            1 => Ok(Self::Virtual),
            2 => Ok(Self::Profile),
            _ => Err(Errno::EINVAL),
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Real => Signal::ALRM,
            Self::Virtual => Signal::VTALRM,
            Self::Profile => Signal::PROF,
        }
    }
}

/// Time until a timer strikes and time between strikes, in ns; 0 is off, or once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Until the next strike.
    pub value: u64,
    /// Between strikes.
    pub interval: u64,
}

/// A timer that is set: when it strikes by the clock that it follows, and how long until the next time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Armed {
    deadline: u64,
    interval: u64,
}

impl Armed {
    fn new(setting: Setting, now: u64) -> Option<Self> {
        (setting.value != 0).then(|| Self { deadline: now.saturating_add(setting.value), interval: setting.interval })
    }

    fn setting(armed: Option<Self>, now: u64) -> Setting {
        armed.map_or(Setting::default(), |armed| Setting {
            // A timer whose strike is under way has a moment left, not none: 0 would mean that it is off.
            value: armed.deadline.saturating_sub(now).max(1),
            interval: armed.interval,
        })
    }

    /// If it is due, sets it to its next strike and says how many were missed on the way.
    fn strike(armed: &mut Option<Self>, now: u64) -> Option<u64> {
        let due = armed.filter(|armed| armed.deadline <= now)?;
        if due.interval == 0 {
            *armed = None;
            return Some(0);
        }
        let missed = (now - due.deadline) / due.interval;
        let deadline = due.deadline.saturating_add((missed + 1).saturating_mul(due.interval));
        *armed = Some(Self { deadline, ..due });
        Some(missed)
    }
}

/// Who is told when a POSIX timer strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notify {
    /// Nobody (`SIGEV_NONE`); what the event named nevertheless, which /proc shows.
    Nobody {
        /// `sigev_signo`, which need not be a signal.
        number: i32,
        /// `sigev_value`.
        value: u64,
    },
    /// The process (`SIGEV_SIGNAL`).
    Process {
        /// The signal.
        signal: Signal,
        /// `sigev_value`.
        value: u64,
    },
    /// A thread of it (`SIGEV_THREAD_ID`).
    Thread {
        /// The signal.
        signal: Signal,
        /// `sigev_value`.
        value: u64,
        /// The thread.
        thread: Pid,
    },
}

/// The clock of a POSIX timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerClock {
    /// `CLOCK_REALTIME`: times are since the epoch.
    RealTime = 0,
    /// `CLOCK_MONOTONIC`.
    Monotonic = 1,
    /// `CLOCK_BOOTTIME`, which is the same, as the machine never sleeps.
    BootTime = 7,
}

struct PosixTimer {
    notify: Notify,
    clock: TimerClock,
    armed: Option<Armed>,
    /// It strikes at a time of day.
    by_wall_clock: bool,
    overrun: i32,
}

impl PosixTimer {
    /// What the clock says that it follows.
    fn now(&self) -> u64 {
        if self.by_wall_clock { time::realtime() } else { time::now() }
    }

    /// When it strikes, in ns since boot as things are now.
    fn deadline(&self) -> Option<u64> {
        let deadline = self.armed?.deadline;
        Some(if self.by_wall_clock { deadline.saturating_sub(time::epoch()) } else { deadline })
    }
}

struct State {
    /// Made at the first use.
    timer: Timer,
    real: Option<Armed>,
    /// In user time of the process.
    user: Option<Armed>,
    /// In user and system time of the process.
    profile: Option<Armed>,
    posix: BTreeMap<i32, PosixTimer>,
    next: i32,
}

/// The timers of a process.
pub struct ProcessTimers {
    process: Weak<Process>,
    /// A timer or limit of CPU time is set: look after each tick.
    watches_processor_time: AtomicBool,
    /// SIGXCPU was sent for second number `.0`.
    warned: machine::sync::atomic::AtomicU64,
    state: SpinLock<Option<Box<State>>>,
}

impl ProcessTimers {
    pub(crate) fn new(process: Weak<Process>) -> Self {
        Self {
            process,
            watches_processor_time: AtomicBool::new(false),
            warned: machine::sync::atomic::AtomicU64::new(0),
            state: SpinLock::new(rank::SIGNALS, None),
        }
    }

    fn with_state<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        let fresh = {
            let state = self.state.lock();
            state.is_none()
        };
        let spare = fresh.then(|| {
            let target: Weak<dyn TimerCall> = self.process.clone();
            let timer = Timer::new(target);
            Box::new(State { timer, real: None, user: None, profile: None, posix: BTreeMap::new(), next: 0 })
        });
        let mut state = self.state.lock();
        match (&mut *state, spare) {
            (Some(state), _) => f(state),
            (none, Some(spare)) => f(none.insert(spare)),
            // The state never goes back to none once it is there; the first look said it was.
            (None, None) => unreachable!("timers: the state of a living process disappeared"),
        }
    }

    /// `setitimer(2)`: sets a timer and returns how it was set.
    pub fn set_interval(&self, which: Interval, setting: Setting) -> Setting {
        let now = self.now(which);
        let old = self.with_state(|state| {
            let slot = slot(state, which);
            let old = Armed::setting(*slot, now);
            *slot = Armed::new(setting, now);
            rearm(state);
            old
        });
        self.watch();
        old
    }

    /// `getitimer(2)`.
    pub fn interval(&self, which: Interval) -> Setting {
        let now = self.now(which);
        let mut state = self.state.lock();
        state.as_mut().map_or(Setting::default(), |state| Armed::setting(*slot(state, which), now))
    }

    fn now(&self, which: Interval) -> u64 {
        let usage = || self.process.upgrade().map(|process| process.usage()).unwrap_or_default();
        match which {
            Interval::Real => time::now(),
            Interval::Virtual => usage().user,
            Interval::Profile => {
                let usage = usage();
                usage.user + usage.system
            }
        }
    }

    /// Decides whether ticks must look at CPU time; called when a timer or `RLIMIT_CPU` was set.
    pub(crate) fn watch(&self) {
        let limited = self.process.upgrade().is_some_and(|process| {
            [Resource::CpuTime, Resource::RealTimeTime].iter().any(|&limit| process.limit(limit) != INFINITY)
        });
        let timed = self.state.lock().as_ref().is_some_and(|state| state.user.is_some() || state.profile.is_some());
        let told = self.process.upgrade().is_some_and(|process| real_time::tells_overruns(&process));
        self.watches_processor_time.store(limited || timed || told, Relaxed);
    }

    /// Called at each switch and tick, with the run queue locked.
    pub(crate) fn charge(&self, task: &Task) {
        if self.watches_processor_time.load(Relaxed) {
            task.note_attention();
        }
    }

    /// Sends what is due by CPU time; called by a task of the process before it goes back to user mode.
    #[inline]
    pub(crate) fn check_processor_time(&self, task: &Arc<Task>) {
        if self.watches_processor_time.load(Relaxed) {
            self.look_at_processor_time(task);
        }
    }

    #[cold]
    fn look_at_processor_time(&self, task: &Arc<Task>) {
        let process = task.process();
        real_time::check(task);
        let usage = process.usage();
        let total = usage.user + usage.system;
        let (user, profile) = {
            let mut state = self.state.lock();
            state.as_mut().map_or((None, None), |state| {
                (Armed::strike(&mut state.user, usage.user), Armed::strike(&mut state.profile, total))
            })
        };
        for (struck, which) in [(user, Interval::Virtual), (profile, Interval::Profile)] {
            if struck.is_some() {
                // The kernel's own signals are never refused.
                let _ = send::to_process(process, SignalInfo::kernel(which.signal()));
            }
        }
        let limit = process.limits().get(Resource::CpuTime);
        let seconds = total / 1_000_000_000;
        if seconds >= limit.hard {
            send::kill_by(task, Signal::KILL);
        } else if seconds >= limit.soft && self.warned.swap(seconds, Relaxed) != seconds {
            let _ = send::to_process(process, SignalInfo::kernel(Signal::XCPU));
        }
    }

    /// `timer_create(2)`: the timer's number. `EAGAIN` too many.
    pub fn create(&self, clock: TimerClock, notify: impl FnOnce(i32) -> Notify) -> Result<i32, Errno> {
        self.with_state(|state| {
            if state.posix.len() >= MOST_TIMERS {
                return Err(Errno::EAGAIN);
            }
            while state.posix.contains_key(&state.next) {
                state.next = state.next.checked_add(1).unwrap_or(0);
            }
            let id = state.next;
            state.next = state.next.checked_add(1).unwrap_or(0);
            let timer = PosixTimer { notify: notify(id), clock, armed: None, by_wall_clock: false, overrun: 0 };
            state.posix.insert(id, timer);
            Ok(id)
        })
    }

    fn with_timer<R>(&self, id: i32, f: impl FnOnce(&mut PosixTimer) -> R) -> Result<R, Errno> {
        let mut state = self.state.lock();
        let state = state.as_mut().ok_or(Errno::EINVAL)?;
        let result = f(state.posix.get_mut(&id).ok_or(Errno::EINVAL)?);
        rearm(state);
        Ok(result)
    }

    /// `timer_settime(2)`; with `absolute` the value is a time of the timer's clock. `EINVAL` no such timer.
    pub fn set(&self, id: i32, absolute: bool, mut setting: Setting) -> Result<Setting, Errno> {
        self.with_timer(id, |timer| {
            let old = Armed::setting(timer.armed, timer.now());
            timer.by_wall_clock = absolute && timer.clock == TimerClock::RealTime;
            let now = timer.now();
            if absolute && setting.value != 0 {
                setting.value = setting.value.saturating_sub(now).max(1);
            }
            timer.armed = Armed::new(setting, now);
            timer.overrun = 0;
            old
        })
    }

    /// `timer_gettime(2)`. `EINVAL` no such timer.
    pub fn get(&self, id: i32) -> Result<Setting, Errno> {
        self.with_timer(id, |timer| Armed::setting(timer.armed, timer.now()))
    }

    /// `timer_getoverrun(2)`. `EINVAL` no such timer.
    pub fn overrun(&self, id: i32) -> Result<i32, Errno> {
        self.with_timer(id, |timer| timer.overrun)
    }

    /// `timer_delete(2)`. `EINVAL` no such timer.
    pub fn delete(&self, id: i32) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let state = state.as_mut().ok_or(Errno::EINVAL)?;
        state.posix.remove(&id).map(drop).ok_or(Errno::EINVAL)?;
        rearm(state);
        Ok(())
    }

    /// The time of day was set: timers that follow it strike sooner or later.
    pub(crate) fn wall_clock_was_set(&self) {
        if let Some(state) = self.state.lock().as_mut() {
            rearm(state);
        }
    }

    /// POSIX timers don't survive exec; interval timers do.
    pub(crate) fn forget_posix(&self) {
        if let Some(state) = self.state.lock().as_mut() {
            state.posix.clear();
            rearm(state);
        }
    }

    /// The process ends: nothing strikes any more.
    pub(crate) fn stop(&self) {
        let state = self.state.lock().take();
        drop(state);
    }

    /// Sends what is due by the clock, and sets the timer to what comes next.
    fn expire(&self, process: &Arc<Process>) {
        let now = time::now();
        let mut due = VecDeque::new();
        if let Some(state) = self.state.lock().as_mut() {
            if Armed::strike(&mut state.real, now).is_some() {
                due.push_back((Notify::Process { signal: Signal::ALRM, value: 0 }, None));
            }
            for (&id, timer) in &mut state.posix {
                let now = timer.now();
                if let Some(missed) = Armed::strike(&mut timer.armed, now) {
                    timer.overrun = i32::try_from(missed).unwrap_or(i32::MAX);
                    due.push_back((timer.notify, Some((id, timer.overrun))));
                }
            }
            rearm(state);
        }
        for (notify, timer) in due {
            notify_one(process, notify, timer);
        }
    }
}

fn slot(state: &mut State, which: Interval) -> &mut Option<Armed> {
    match which {
        Interval::Real => &mut state.real,
        Interval::Virtual => &mut state.user,
        Interval::Profile => &mut state.profile,
    }
}

/// Sets the scheduler's timer to the earliest deadline.
fn rearm(state: &mut State) {
    let posix = state.posix.values().filter_map(PosixTimer::deadline);
    match state.real.map(|armed| armed.deadline).into_iter().chain(posix).min() {
        Some(deadline) => state.timer.set(deadline),
        None => state.timer.cancel(),
    }
}

fn notify_one(process: &Arc<Process>, notify: Notify, timer: Option<(i32, i32)>) {
    let info = |signal, value| match timer {
        None => SignalInfo::kernel(signal),
        Some((id, overrun)) => SignalInfo { signal, code: code::TIMER, detail: Detail::Timer { id, overrun, value } },
    };
    // A full queue loses the signal of a timer, as on Linux.
    let _ = match notify {
        Notify::Nobody { .. } => Ok(()),
        Notify::Process { signal, value } => send::to_process(process, info(signal, value)),
        Notify::Thread { signal, value, thread } => {
            let threads = process.threads();
            match threads.iter().find(|task| task.tid() == thread) {
                Some(task) => send::to_task(task, info(signal, value)),
                None => Ok(()),
            }
        }
    };
}

impl TimerCall for Process {
    fn expired(&self) {
        self.population().timer_work.add(self.timers.process.clone());
    }
}

/// Processes whose timer has struck, for the thread that sends their signals.
pub(crate) struct TimerWork {
    struck: IrqLock<VecDeque<Weak<Process>>>,
    queue: WaitQueue,
}

impl TimerWork {
    pub(crate) const fn new() -> Self {
        Self { struck: IrqLock::new(rank::STRUCK_TIMERS, VecDeque::new()), queue: WaitQueue::new() }
    }

    fn add(&self, process: Weak<Process>) {
        self.struck.lock().push_back(process);
        self.queue.wake_one();
    }

    /// What the thread does, for ever.
    pub(crate) fn run(&self) -> ! {
        loop {
            sched::between_jobs();
            if let Some(process) = self.queue.wait_until(|| self.struck.lock().pop_front()).upgrade() {
                process.timers.expire(&process);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_timer_that_strikes_once_is_off_afterwards() {
        let mut armed = Armed::new(Setting { value: 10, interval: 0 }, 5);
        assert_eq!(Armed::setting(armed, 6), Setting { value: 9, interval: 0 });
        assert_eq!(Armed::strike(&mut armed, 14), None);
        assert_eq!(Armed::strike(&mut armed, 15), Some(0));
        assert_eq!(Armed::setting(armed, 16), Setting::default());
    }

    proptest! {
        #[test]
        fn strikes_and_missed_strikes_together_are_the_periods_that_passed(
            value in 1u64..100, interval in 1u64..50, steps in proptest::collection::vec(1u64..200, 1..30),
        ) {
            let mut armed = Armed::new(Setting { value, interval }, 0);
            let (mut now, mut counted) = (0, 0);
            for step in steps {
                now += step;
                if let Some(missed) = Armed::strike(&mut armed, now) {
                    counted += missed + 1;
                }
                let expected = if now < value { 0 } else { (now - value) / interval + 1 };
                prop_assert_eq!(counted, expected);
            }
        }
    }
}
