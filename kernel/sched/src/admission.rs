//! What tasks have reserved of the CPUs' time, and whether there is time for another: in each balancing domain the sum of
//! the bandwidths is at most what `sched_rt_runtime_us` leaves of its CPUs (sched(7)). Without that limit nothing is checked.

use crate::{
    Entity,
    cpu::{self, Cpu, TaskRef},
    entity::RunState,
    policy::{Policy, RealTimeLimit, Server},
    real_time::real_time_limit,
    wake,
};
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{CpuId, CpuSet, Errno};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use machine::sync::{Mutex, MutexGuard, rank};

/// The servers of all tasks with reservations. Whoever makes one, or changes the CPUs that it may use, holds the lock from
/// the check to the change.
static SERVERS: Mutex<Vec<Weak<Server>>> = Mutex::new(rank::RESERVATIONS, Vec::new());

/// Whether there has ever been one: mostly a move need not ask.
static USED: AtomicBool = AtomicBool::new(false);

/// The least and the greatest period, in microseconds: Linux's.
static LEAST_PERIOD: AtomicU32 = AtomicU32::new(100);
static GREATEST_PERIOD: AtomicU32 = AtomicU32::new(1 << 22);

/// What was found still holds while this is there.
pub(crate) struct Admission(MutexGuard<'static, Vec<Weak<Server>>>);

impl Admission {
    fn lock() -> Self {
        Self(SERVERS.lock())
    }

    /// The sum of what is reserved on `cpus`.
    fn reserved(&self, cpus: &CpuSet) -> u64 {
        let servers = self.0.iter().filter_map(Weak::upgrade);
        let here = servers.filter(|server| server.home().is_some_and(|home| cpus.contains(stand_in(home))));
        here.map(|server| server.reservation().bandwidth()).sum()
    }

    /// There is a new reservation.
    pub(crate) fn note(mut self, server: Option<&Arc<Server>>) -> Self {
        if let Some(server) = server {
            self.0.retain(|server| server.strong_count() > 0);
            self.0.push(Arc::downgrade(server));
            USED.store(true, Relaxed);
        }
        self
    }
}

/// Where that counts which is reserved on `cpu`: if it is offline, on another CPU of its domain.
fn stand_in(cpu: CpuId) -> CpuId {
    let peers = cpu::get(cpu).map(Cpu::peers).unwrap_or_default();
    if peers.contains(cpu) { cpu } else { peers.iter().next().unwrap_or(cpu) }
}

fn is_off(limit: RealTimeLimit) -> bool {
    limit.runtime == u64::MAX
}

fn capacity(limit: RealTimeLimit, cpus: &CpuSet) -> u64 {
    limit.portion() * cpus.count() as u64
}

/// The CPUs of the domain that a task which last ran on `last` and may use `allowed` is in.
fn domain(last: CpuId, allowed: &CpuSet) -> CpuSet {
    let usable = cpu::usable(allowed);
    let at = if usable.contains(last) { Some(last) } else { usable.iter().next() };
    at.and_then(cpu::get).map_or(usable, Cpu::peers)
}

/// Whether the task may have that policy: see [`set_policy`](crate::set_policy).
pub(crate) fn of(entity: &Entity, policy: Policy) -> Result<Admission, Errno> {
    let admission = Admission::lock();
    let limit = real_time_limit();
    let Policy::Deadline(reservation) = policy else { return Ok(admission) };
    if is_off(limit) {
        return Ok(admission);
    }
    let (allowed, own) = {
        let state = entity.lock();
        (state.allowed, state.server.as_ref().map_or(0, |server| server.reservation().bandwidth()))
    };
    let domain = domain(entity.cpu(), &allowed);
    if !domain.is_subset_of(&allowed) || limit.portion() == 0 {
        return Err(Errno::EPERM);
    }
    let wanted = reservation.bandwidth();
    let others = admission.reserved(&domain).saturating_sub(own);
    if wanted != own && others + wanted > capacity(limit, &domain) {
        return Err(Errno::EBUSY);
    }
    Ok(admission)
}

/// Whether the limit may become this one. `EBUSY` more is reserved.
pub(crate) fn check_limit(limit: RealTimeLimit) -> Result<Admission, Errno> {
    let admission = Admission::lock();
    let domains = machine::cpu::online().iter().filter_map(cpu::get).map(Cpu::peers).collect::<Vec<_>>();
    let is_exceeded = |domain: &CpuSet| admission.reserved(domain) > capacity(limit, domain);
    if !is_off(limit) && domains.iter().any(is_exceeded) { Err(Errno::EBUSY) } else { Ok(admission) }
}

/// Whether a CPU may go offline. `EBUSY` its domain has reserved more than the others can give.
pub(crate) fn check_loss(cpu: &Cpu) -> Result<Admission, Errno> {
    let admission = Admission::lock();
    let limit = real_time_limit();
    let domain = cpu.peers();
    let mut rest = domain;
    rest.remove(cpu.number);
    let is_missed = !is_off(limit) && admission.reserved(&domain) > capacity(limit, &rest);
    if is_missed { Err(Errno::EBUSY) } else { Ok(admission) }
}

/// Whether tasks may come to `cpus`, all of them at once; what they have reserved then counts there.
///
/// Errors: `EBUSY` it is another domain than that of some of them, and has not as much time left as these have reserved.
/// May sleep.
pub fn admit_move<'a>(tasks: impl Iterator<Item = &'a Entity>, cpus: &CpuSet) -> Result<(), Errno> {
    if !USED.load(Relaxed) {
        return Ok(());
    }
    let mut servers = tasks.filter_map(|task| task.lock().server.clone()).peekable();
    if servers.peek().is_none() {
        return Ok(());
    }
    let Some(target) = cpu::usable(cpus).iter().next() else { return Ok(()) };
    let admission = Admission::lock();
    let comes =
        |server: &Arc<Server>| server.home().is_some_and(|home| !domain(home, &CpuSet::only(home)).intersects(cpus));
    let coming: Vec<Arc<Server>> = servers.filter(comes).collect();
    let wanted: u64 = coming.iter().map(|server| server.reservation().bandwidth()).sum();
    let (limit, domain) = (real_time_limit(), domain(target, cpus));
    if !is_off(limit) && wanted > 0 && admission.reserved(&domain) + wanted > capacity(limit, &domain) {
        return Err(Errno::EBUSY);
    }
    coming.iter().for_each(|server| server.set_out(target));
    Ok(())
}

/// The tasks that were [admitted](admit_move) stay where they are.
pub fn cancel_move<'a>(tasks: impl Iterator<Item = &'a Entity>) {
    if USED.load(Relaxed) {
        tasks.filter_map(|task| task.lock().server.clone()).for_each(|server| server.settle());
    }
}

/// Whether a cpuset that has the CPUs `now` for itself may have `wanted` instead: `false` if these can't give what is
/// reserved in its domain. May sleep.
pub fn may_shrink(now: &CpuSet, wanted: &CpuSet) -> bool {
    let admission = Admission::lock();
    let limit = real_time_limit();
    let Some(domain) = now.iter().next().and_then(cpu::get).map(Cpu::peers) else { return true };
    is_off(limit) || admission.reserved(&domain) <= capacity(limit, wanted)
}

/// A task, whose state is locked, may use other CPUs than before: what it has reserved counts where it can run.
pub(crate) fn follow(state: &RunState) {
    let Some(server) = &state.server else { return };
    server.settle();
    if server.home().is_some_and(|home| !state.allowed.contains(home))
        && let Some(home) = cpu::usable(&state.allowed).iter().next()
    {
        server.set_home(home);
    }
}

/// `sched_setaffinity(2)`: sets the CPUs that the task may use, as its user wants them.
///
/// Errors: `EBUSY` it has a reservation, and these are not all of its domain; `EINVAL` none of them is online. May sleep.
pub fn set_affinity(task: &TaskRef, allowed: &CpuSet) -> Result<(), Errno> {
    let _admission = Admission::lock();
    let entity = task.entity();
    let (before, reserves) = {
        let state = entity.lock();
        (state.allowed, state.server.is_some())
    };
    if reserves && !is_off(real_time_limit()) && !domain(entity.cpu(), &before).is_subset_of(allowed) {
        return Err(Errno::EBUSY);
    }
    if !allowed.intersects(&machine::cpu::online()) {
        return Err(Errno::EINVAL);
    }
    wake::set_allowed(task, allowed);
    Ok(())
}

/// The least and the greatest period that may be reserved, in microseconds.
pub fn period_bounds() -> (u32, u32) {
    (LEAST_PERIOD.load(Relaxed), GREATEST_PERIOD.load(Relaxed))
}

/// Sets these; reservations that there are stay. `EINVAL` the least is above the greatest.
pub fn set_period_bounds(least: u32, greatest: u32) -> Result<(), Errno> {
    if least > greatest {
        return Err(Errno::EINVAL);
    }
    LEAST_PERIOD.store(least, Relaxed);
    GREATEST_PERIOD.store(greatest, Relaxed);
    Ok(())
}
