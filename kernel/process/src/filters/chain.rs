//! The filters of a task: each has the one that was there before it. A task's children and threads share what they
//! inherit; filters are never taken away, so a chain only grows.

use super::{
    action::{Action, Verdict},
    listener::Listener,
    program::{Facts, Instruction, Program},
};
use alloc::sync::Arc;
use base::{
    Errno,
    charge::{Amount, Refused, Resource, Severity},
};
use core::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Release},
};
use machine::sync::{SpinLock, rank};

/// The most instructions of all filters of a task (`MAX_INSNS_PER_PATH`).
const MOST_INSTRUCTIONS: usize = 32768;
/// What each filter that is there already counts besides its instructions.
const PENALTY: usize = 4;

/// A filter with those that were there before it.
pub(crate) struct Filter {
    program: Program,
    /// `SECCOMP_FILTER_FLAG_LOG`: what it does is logged.
    pub(crate) logs: bool,
    /// Who answers for it, if somebody was to when it was made.
    pub(crate) listener: Option<Arc<Listener>>,
    previous: Option<Arc<Filter>>,
    /// How many there are with it.
    count: u32,
    /// What it and those before it count as instructions of a longer chain.
    weight: usize,
    /// Its maker's containers pay for its memory.
    _paid: Option<Amount>,
}

/// A filter that no task has yet.
pub(crate) struct NewFilter {
    pub(crate) program: Program,
    pub(crate) logs: bool,
    pub(crate) listener: Option<Arc<Listener>>,
    paid: Option<Amount>,
}

impl NewFilter {
    /// The running task pays. `ENOMEM` it can't.
    pub(crate) fn new(program: Program, logs: bool) -> Result<Self, Errno> {
        let bytes = size_of::<Filter>() + program.instructions().len() * Instruction::SIZE;
        let paid = memory::payer::current()
            .map(|payer| Amount::take(payer, Resource::KernelMemory, bytes as u64, Severity::Barrier));
        let paid = paid.transpose().map_err(|Refused| Errno::ENOMEM)?;
        Ok(Self { program, logs, listener: None, paid })
    }

    /// Whether the chain would be too long with it: `ENOMEM`.
    pub(crate) fn check_length(&self, previous: Option<&Arc<Filter>>) -> Result<(), Errno> {
        let all = self.program.instructions().len() + previous.map_or(0, |previous| previous.weight);
        if all > MOST_INSTRUCTIONS { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Puts it before `previous`.
    pub(crate) fn before(self, previous: Option<Arc<Filter>>) -> Arc<Filter> {
        let own = self.program.instructions().len() + PENALTY;
        Arc::new(Filter {
            count: previous.as_ref().map_or(0, |previous| previous.count) + 1,
            weight: previous.as_ref().map_or(0, |previous| previous.weight) + own,
            program: self.program,
            logs: self.logs,
            listener: self.listener,
            previous,
            _paid: self.paid,
        })
    }
}

impl Filter {
    /// It and those before it, the newest first.
    pub(crate) fn all(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        core::iter::successors(Some(self), |filter| filter.previous.as_ref())
    }

    /// Its instructions.
    pub(crate) fn instructions(&self) -> &[Instruction] {
        self.program.instructions()
    }

    /// How many there are with it.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// What all say of a call: the verdict that goes before the others', and which filter's it is, the newest of several
    /// alike; none for [`Action::Allow`].
    pub(crate) fn judge(self: &Arc<Self>, facts: &Facts) -> (Verdict, Option<&Arc<Self>>) {
        let mut best = (Verdict::ALLOW, None);
        for filter in self.all() {
            let verdict = Verdict::new(filter.program.run(facts));
            if verdict.precedes(best.0) {
                best = (verdict, Some(filter));
            }
        }
        best
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.forget_users();
        }
        // One after the other: a chain may be longer than a kernel stack is deep.
        let mut next = self.previous.take();
        while let Some(filter) = next {
            next = Arc::into_inner(filter).and_then(|mut filter| filter.previous.take());
        }
    }
}

/// How a task's calls are filtered, as prctl(2) and /proc tell it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Not at all.
    Off = 0,
    /// `read`, `write`, `exit` and `rt_sigreturn` only.
    Strict = 1,
    /// By filters.
    Filter = 2,
}

/// What each task has of this.
pub(crate) struct Filters {
    /// A [`Mode`], changed with the chain locked: once, from [`Mode::Off`].
    mode: AtomicU8,
    chain: SpinLock<Option<Arc<Filter>>>,
}

impl Default for Filters {
    fn default() -> Self {
        Self { mode: AtomicU8::new(Mode::Off as u8), chain: SpinLock::new(rank::LEAF, None) }
    }
}

impl Filters {
    /// Whether the task's calls are looked at.
    #[inline]
    pub(crate) fn are_on(&self) -> bool {
        self.mode.load(Acquire) != Mode::Off as u8
    }

    /// How its calls are looked at.
    pub(crate) fn mode(&self) -> Mode {
        match self.mode.load(Acquire) {
            mode if mode == Mode::Strict as u8 => Mode::Strict,
            mode if mode == Mode::Filter as u8 => Mode::Filter,
            _ => Mode::Off,
        }
    }

    /// The newest of its filters.
    pub(crate) fn chain(&self) -> Option<Arc<Filter>> {
        self.chain.lock().clone()
    }

    /// Allows the four calls only. `EINVAL` there are filters.
    pub(crate) fn make_strict(&self) -> Result<(), Errno> {
        let chain = self.chain.lock();
        if self.mode() == Mode::Filter {
            return Err(Errno::EINVAL);
        }
        self.mode.store(Mode::Strict as u8, Release);
        drop(chain);
        Ok(())
    }

    /// Has this chain of filters from now on, which ends with the one that was there.
    pub(crate) fn set(&self, new: Arc<Filter>) {
        let mut chain = self.chain.lock();
        let old = chain.replace(new);
        self.mode.store(Mode::Filter as u8, Release);
        drop(chain);
        drop(old);
    }

    /// A new task's are those of its maker.
    pub(crate) fn inherit(&self, maker: &Self) {
        let from = maker.chain.lock();
        let (mode, chain) = (maker.mode.load(Acquire), from.clone());
        drop(from);
        *self.chain.lock() = chain;
        self.mode.store(mode, Release);
    }

    /// The task has ended and makes no calls: lets its filters go, whose listeners are told if it was the last. The mode is
    /// shown on.
    pub(crate) fn release(&self) {
        let chain = self.chain.lock().take();
        drop(chain);
    }
}

/// The action of a verdict with the filter's wish to have it logged.
pub(super) fn is_logged(verdict: Verdict, filter: Option<&Arc<Filter>>) -> bool {
    let action = verdict.action();
    let wished = match action {
        Action::Allow => false,
        Action::KillProcess | Action::KillThread | Action::Log => true,
        Action::Trap | Action::Error | Action::Notify | Action::Trace => filter.is_some_and(|filter| filter.logs),
    };
    wished && super::action::LOGGED.contains(action)
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux_raw_sys::ptrace::*;

    fn filter(instructions: &[(u16, u32)], previous: Option<Arc<Filter>>) -> Result<Arc<Filter>, Errno> {
        let instructions = instructions.iter().map(|&(code, operand)| Instruction { code, operand, yes: 0, no: 0 });
        let new = NewFilter::new(Program::new(instructions.collect())?, false)?;
        new.check_length(previous.as_ref())?;
        Ok(new.before(previous))
    }

    fn chain(values: &[u32]) -> Arc<Filter> {
        values.iter().fold(None, |chain, &value| Some(filter(&[(6, value)], chain).unwrap())).unwrap()
    }

    #[test]
    fn the_strictest_of_all_filters_counts_and_of_equals_the_newest() {
        let facts = [0; 16];
        let all = chain(&[SECCOMP_RET_ERRNO | 1, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO | 2, SECCOMP_RET_TRACE]);
        let (verdict, by) = all.judge(&facts);
        assert_eq!((verdict.action(), verdict.data()), (Action::Error, 2));
        assert!(Arc::ptr_eq(by.unwrap(), all.all().nth(1).unwrap()));
        let allowed = chain(&[SECCOMP_RET_ALLOW | 5]);
        let (verdict, by) = allowed.judge(&facts);
        assert_eq!((verdict, by.is_none()), (Verdict::ALLOW, true));
        let killed = chain(&[SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD]);
        assert_eq!(killed.judge(&facts).0.action(), Action::KillProcess);
    }

    #[test]
    fn a_chain_has_as_many_instructions_as_linux_allows() {
        let mut long = std::vec![(0, 0); 4095];
        long.push((6, 0));
        let mut chain = None;
        for _ in 0..7 {
            chain = Some(filter(&long, chain).unwrap());
        }
        // 7 times 4100 are taken.
        let rest = MOST_INSTRUCTIONS - 7 * 4100;
        assert_eq!(filter(&long[4096 - rest - 1..], chain.clone()).map(|_| ()), Err(Errno::ENOMEM));
        let whole = filter(&long[4096 - rest..], chain.clone()).unwrap();
        assert_eq!(whole.count(), 8);
        assert_eq!(filter(&[(6, 0)], Some(whole)).map(|_| ()), Err(Errno::ENOMEM));
    }

    #[test]
    fn the_longest_chain_is_dropped_on_a_small_stack() {
        let build = || {
            let mut chain = None;
            while let Ok(next) = filter(&[(6, 0)], chain.clone()) {
                chain = Some(next);
            }
            chain.unwrap()
        };
        let count = std::thread::Builder::new().stack_size(64 << 10).spawn(move || build().count()).unwrap();
        assert_eq!(count.join().unwrap(), 6553 + 1);
    }

    #[test]
    fn strict_and_filters_exclude_each_other_and_are_inherited() {
        let parent = Filters::default();
        assert!(!parent.are_on());
        parent.set(chain(&[0]));
        assert_eq!(parent.make_strict(), Err(Errno::EINVAL));
        let child = Filters::default();
        child.inherit(&parent);
        assert_eq!(child.mode(), Mode::Filter);
        assert!(Arc::ptr_eq(&child.chain().unwrap(), &parent.chain().unwrap()));
        let strict = Filters::default();
        assert_eq!((strict.make_strict(), strict.make_strict()), (Ok(()), Ok(())));
        assert_eq!(strict.mode(), Mode::Strict);
    }
}
