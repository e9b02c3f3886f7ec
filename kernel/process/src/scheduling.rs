//! Where tasks run and with which weight: affinity and nice values.

use crate::{limits::Resource, policy, task::Task};
use alloc::{sync::Arc, vec::Vec};
use base::{Capabilities, CpuSet, Credentials, Errno, Pid, Uid};
use sched::Nice;

/// Whose nice value `getpriority(2)` and `setpriority(2)` mean; none is the caller, its group, its user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PriorityTarget {
    /// One task.
    Task(Option<Pid>),
    /// The members of a process group.
    Group(Option<Pid>),
    /// All tasks of a real user.
    User(Option<Uid>),
}

/// Decides which CPUs of a wish a task may have; filled by the wiring when a controller confines tasks.
pub trait Confinement: Sync {
    /// The CPUs that the task's containers allow.
    fn allowed(&self, task: &Task) -> CpuSet;
}

/// Installed at boot; without it every CPU is allowed.
pub static CONFINEMENT: machine::sync::Hook<dyn Confinement> = machine::sync::Hook::new();

/// The priority of a task's input and output: class and level as `ioprio_set(2)` packs them. A smaller one is better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct IoPriority(u16);

impl IoPriority {
    const CLASS_SHIFT: u32 = 13;
    const LEVELS: u16 = 8;
    const REAL_TIME: u16 = 1;
    const BEST_EFFORT: u16 = 2;
    const IDLE: u16 = 3;

    /// What user mode packed. `EINVAL` no such class or level.
    pub fn from_raw(raw: i32) -> Result<Self, Errno> {
        let priority = Self(u16::try_from(raw).map_err(|_| Errno::EINVAL)?);
        let level = priority.0 & ((1 << Self::CLASS_SHIFT) - 1);
        match priority.class() {
            0 if level == 0 => Ok(priority),
            Self::REAL_TIME | Self::BEST_EFFORT if level < Self::LEVELS => Ok(priority),
            Self::IDLE => Ok(priority),
            _ => Err(Errno::EINVAL),
        }
    }

    /// As user mode packs it.
    pub fn raw(self) -> u16 {
        self.0
    }

    /// Whether `who` may have it. `EPERM`.
    pub fn check(self, who: &Credentials) -> Result<(), Errno> {
        let may_have_any = || who.has(Capabilities::SYS_ADMIN) || who.has(Capabilities::SYS_NICE);
        if self.class() != Self::REAL_TIME || may_have_any() { Ok(()) } else { Err(Errno::EPERM) }
    }

    fn class(self) -> u16 {
        self.0 >> Self::CLASS_SHIFT
    }

    /// What counts for a task that never chose: best effort, by its nice value.
    fn or_by_nice(self, nice: Nice) -> Self {
        let level = u16::try_from((nice.raw() + 20) / 5).unwrap_or_default();
        if self.class() == 0 { Self(Self::BEST_EFFORT << Self::CLASS_SHIFT | level) } else { self }
    }
}

impl Task {
    pub(crate) fn may_schedule(&self, target: &Task) -> bool {
        let (own, other) = (self.credentials(), target.credentials());
        own.has(Capabilities::SYS_NICE) || own.euid == other.uid || own.euid == other.euid
    }

    /// `sched_setaffinity(2)` of `target`: the wish, cut to what its containers allow. `EPERM`; `EBUSY` with a reservation it
    /// has to use all CPUs of its domain; `EINVAL` nothing is left.
    pub fn set_affinity_of(&self, target: &Arc<Task>, wish: &CpuSet) -> Result<(), Errno> {
        if !self.may_schedule(target) {
            return Err(Errno::EPERM);
        }
        target.set_affinity(wish)
    }

    /// The CPUs that the task asked for itself; all if it never did.
    pub fn affinity(&self) -> CpuSet {
        *self.affinity.lock()
    }

    /// Whether it has asked for CPUs itself since it was last [confined](Self::confine).
    pub fn chose_cpus(&self) -> bool {
        *self.affinity.lock() != CpuSet::first(base::MAX_CPUS)
    }

    fn set_affinity(&self, wish: &CpuSet) -> Result<(), Errno> {
        let confined = || CONFINEMENT.get().map_or(CpuSet::first(base::MAX_CPUS), |hook| hook.allowed(self));
        let apply = |allowed: &CpuSet| {
            if let Some(task) = self.schedulable() {
                sched::set_affinity(&task, allowed)?;
            }
            *self.affinity.lock() = *wish;
            Ok(())
        };
        apply_wish(wish, confined, apply, |allowed| self.confine(allowed))
    }

    /// The task's containers allow exactly these CPUs now; what it asked for itself before is forgotten (interfaces.md,
    /// 10.4). On return it runs only there.
    pub fn confine(&self, confined: &CpuSet) {
        *self.affinity.lock() = CpuSet::first(base::MAX_CPUS);
        self.apply_allowed(confined);
    }

    fn apply_allowed(&self, allowed: &CpuSet) {
        if let Some(task) = self.schedulable() {
            sched::set_allowed(&task, allowed);
        }
    }

    fn priority_targets(&self, target: PriorityTarget) -> Vec<Arc<Task>> {
        let population = self.population();
        match target {
            PriorityTarget::Task(None) => self.reference().into_iter().collect(),
            PriorityTarget::Task(Some(tid)) => population.task(tid).into_iter().collect(),
            PriorityTarget::Group(group) => {
                let group = group.unwrap_or_else(|| self.process().kinship().group());
                let members = population.tree().group(group).to_vec();
                members.iter().flat_map(|member| member.threads()).collect()
            }
            PriorityTarget::User(user) => {
                let user = user.unwrap_or_else(|| self.credentials().uid);
                population.tasks().into_iter().filter(|task| task.credentials().uid == user).collect()
            }
        }
    }

    /// `getpriority(2)`: the lowest nice value among the targets. `ESRCH` there are none.
    pub fn nice_of(&self, target: PriorityTarget) -> Result<Nice, Errno> {
        self.priority_targets(target).iter().map(|task| task.entity().nice()).min().ok_or(Errno::ESRCH)
    }

    /// `setpriority(2)`. `ESRCH` no target; `EPERM` another user's task; `EACCES` lower than `RLIMIT_NICE` lets it.
    pub fn set_nice_of(&self, target: PriorityTarget, nice: Nice) -> Result<(), Errno> {
        let targets = self.priority_targets(target);
        if targets.is_empty() {
            return Err(Errno::ESRCH);
        }
        let mut result = Ok(());
        for task in targets {
            if let Err(error) = self.set_nice(&task, nice) {
                result = Err(error);
            }
        }
        result
    }

    fn set_nice(&self, task: &Arc<Task>, nice: Nice) -> Result<(), Errno> {
        let own = self.credentials();
        let other = task.credentials();
        if own.euid != other.uid && own.euid != other.euid && !own.has(Capabilities::SYS_NICE) {
            return Err(Errno::EPERM);
        }
        let least = policy::least_nice(task.process().limit(Resource::Nice));
        let lowers = nice < task.entity().nice() && i64::from(nice.raw()) < least;
        if lowers && !own.has(Capabilities::SYS_NICE) {
            return Err(Errno::EACCES);
        }
        if let Some(task) = task.schedulable() {
            sched::set_nice(&task, nice);
        }
        Ok(())
    }

    /// `ioprio_get(2)`: the best priority among the targets; of a single task, also that it never chose. `ESRCH` there
    /// are none.
    pub fn io_priority_of(&self, target: PriorityTarget) -> Result<IoPriority, Errno> {
        let targets = self.priority_targets(target);
        let own = |task: &Arc<Task>| task.with_belongings(|own| own.io_priority);
        match target {
            PriorityTarget::Task(_) => targets.first().map(own).ok_or(Errno::ESRCH),
            _ => targets.iter().map(|task| own(task).or_by_nice(task.entity().nice())).min().ok_or(Errno::ESRCH),
        }
    }

    /// `ioprio_set(2)`: kept, shown and inherited; there is no disk whose queue it could order. `ESRCH` no target;
    /// `EPERM` another user's task, or the real-time class without `CAP_SYS_NICE` or `CAP_SYS_ADMIN`.
    pub fn set_io_priority_of(&self, target: PriorityTarget, priority: IoPriority) -> Result<(), Errno> {
        let own = self.credentials();
        let privileged = own.has(Capabilities::SYS_NICE);
        priority.check(&own)?;
        let targets = self.priority_targets(target);
        if targets.is_empty() {
            return Err(Errno::ESRCH);
        }
        for task in targets {
            let other = task.credentials();
            if own.euid != other.uid && own.uid != other.uid && !privileged {
                return Err(Errno::EPERM);
            }
            task.with_belongings(|belongings| belongings.io_priority = priority);
        }
        Ok(())
    }
}

/// Applies a wish, cut to what is `confined`. What `apply` fails with at first.
fn apply_wish(
    wish: &CpuSet,
    mut confined: impl FnMut() -> CpuSet,
    mut apply: impl FnMut(&CpuSet) -> Result<(), Errno>,
    mut confine: impl FnMut(&CpuSet),
) -> Result<(), Errno> {
    let mut now = confined();
    apply(&wish.and(&now))?;
    loop {
        // Whoever changes what is confined does so first, and tells the task after: that may have been before this.
        let before = core::mem::replace(&mut now, confined());
        if now == before {
            return Ok(());
        }
        if apply(&wish.and(&now)).is_err() {
            confine(&now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use base::CpuId;
    use core::cell::RefCell;

    /// Fails on a version that does not look again after it has applied the wish: the task would run outside its cpuset.
    #[test]
    fn a_wish_that_overtakes_a_change_of_the_cpuset_obeys_it() {
        let set = |cpus: &[u32]| cpus.iter().map(|&cpu| CpuId::new(cpu)).collect::<CpuSet>();
        let applied = |wish: &[u32], confined: &[&[u32]]| {
            let mut confined = confined.iter().map(|cpus| set(cpus));
            let mut last = set(&[]);
            let now = || {
                last = confined.next().unwrap_or(last);
                last
            };
            let all = RefCell::new(vec![]);
            let apply = |cpus: &CpuSet| {
                if cpus.is_empty() {
                    return Err(Errno::EINVAL);
                }
                all.borrow_mut().push((true, *cpus));
                Ok(())
            };
            apply_wish(&set(wish), now, apply, |cpus| all.borrow_mut().push((false, *cpus)))?;
            Ok(all.into_inner())
        };
        assert_eq!(applied(&[0, 1], &[&[0, 1, 2]]), Ok(vec![(true, set(&[0, 1]))]));
        assert_eq!(applied(&[3], &[&[0, 1, 2]]), Err(Errno::EINVAL));
        let narrowed = vec![(true, set(&[0, 1])), (true, set(&[1]))];
        assert_eq!(applied(&[0, 1], &[&[0, 1, 2], &[1, 2]]), Ok(narrowed));
        let gone = vec![(true, set(&[0])), (false, set(&[1, 2]))];
        assert_eq!(applied(&[0], &[&[0, 1], &[1, 2]]), Ok(gone));
    }

    #[test]
    fn priorities_of_io_are_checked_and_ordered_as_on_linux() {
        let packed = |class: i32, level: i32| IoPriority::from_raw(class << 13 | level);
        assert_eq!(packed(0, 0), Ok(IoPriority::default()));
        for (class, level) in [(0, 1), (1, 8), (2, 8), (4, 0), (7, 7), (8, 0)] {
            assert_eq!(packed(class, level), Err(Errno::EINVAL), "{class} {level}");
        }
        let (real_time, best_effort, idle) = (packed(1, 7).unwrap(), packed(2, 0).unwrap(), packed(3, 0).unwrap());
        assert!(real_time < best_effort && best_effort < idle);
        let unset = IoPriority::default().or_by_nice(Nice::new(0));
        assert_eq!(unset, packed(2, 4).unwrap());
        assert_eq!(idle.or_by_nice(Nice::new(0)), idle);
    }
}
