//! Tasks of real time and those with reservations over all CPUs: none waits while a CPU that it may use runs something less
//! urgent.
//!
//! A CPU that chooses its next task takes a waiting task of this kind from another CPU, if that goes before all that it has
//! itself; and after each switch it calls the CPU that runs the least, if it has such a task waiting itself. While no such
//! task waits anywhere both cost one look.

use crate::{
    admission,
    cpu::{self, Cpu, TaskRef},
    policy::{RealTimeLimit, Urgency, balance::CpuState},
};
use base::{CpuId, Errno};
use core::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

/// On how many CPUs such tasks wait.
static CROWDED: AtomicUsize = AtomicUsize::new(0);

static RUNTIME: AtomicU64 = AtomicU64::new(RealTimeLimit::USUAL.runtime);
static PERIOD: AtomicU64 = AtomicU64::new(RealTimeLimit::USUAL.period);

/// How much of each period tasks of real time may keep others waiting on a CPU.
pub fn real_time_limit() -> RealTimeLimit {
    RealTimeLimit { runtime: RUNTIME.load(Relaxed), period: PERIOD.load(Relaxed) }
}

/// Sets that, on all CPUs. The period is not 0. `EBUSY` tasks have reserved more.
pub fn set_real_time_limit(limit: RealTimeLimit) -> Result<(), Errno> {
    let _admission = admission::check_limit(limit)?;
    RUNTIME.store(limit.runtime, Relaxed);
    PERIOD.store(limit.period, Relaxed);
    for (_, cpu) in cpu::all().into_iter().flat_map(machine::cpu::PerCpu::iter) {
        cpu.queue.lock().members.set_real_time_limit(limit);
        cpu.kick();
    }
    Ok(())
}

/// Notes what urgency waits on `cpu`, 0 for none. With its queue locked.
pub(crate) fn publish(cpu: &Cpu, waiting: u64) {
    let before = cpu.waiting_urgency.load(Relaxed);
    if before == waiting {
        return;
    }
    cpu.waiting_urgency.store(waiting, Relaxed);
    match (before, waiting) {
        (0, 1..) => CROWDED.fetch_add(1, SeqCst),
        (1.., 0) => CROWDED.fetch_sub(1, SeqCst),
        _ => 0,
    };
}

fn may_come(task: &TaskRef, to: CpuId) -> bool {
    task.entity().seems_allowed(to) && !task.entity().context().is_running()
}

/// Whether no CPU has to be helped.
pub(crate) fn nobody_waits() -> bool {
    CROWDED.load(SeqCst) == 0
}

/// Takes the most urgent task that waits elsewhere and goes before all that is here.
pub(crate) fn pull(cpu: &'static Cpu) {
    if nobody_waits() || !cpu.serves.load(SeqCst) {
        return;
    }
    let mut candidates = cpu.peers();
    loop {
        let own = cpu.queue.lock().members.urgency();
        let waiting =
            |number| cpu::get(number).and_then(|other| Urgency::from_raw(other.waiting_urgency.load(Relaxed)));
        let first = candidates.iter().filter(|&number| number != cpu.number && waiting(number) > own);
        let Some(source) = first.max_by_key(|&number| waiting(number)).and_then(cpu::get) else { return };
        let mut queue = source.queue.lock();
        let taken = queue.members.steal_urgent(own, |task| may_come(task, cpu.number));
        source.publish(&queue);
        drop(queue);
        match taken {
            Some((task, standing)) => return cpu.take_in(&task, standing),
            None => candidates.remove(source.number),
        }
    }
}

/// Calls the CPU that runs the least, if a task waits here that is more urgent than that.
#[inline]
pub(crate) fn push(cpu: &'static Cpu) {
    if cpu.waiting_urgency.load(Relaxed) != 0 {
        call_least(cpu);
    }
}

#[cold]
fn call_least(cpu: &'static Cpu) {
    let peers = cpu.peers();
    let queue = cpu.queue.lock();
    let Some((task, urgency)) = queue.members.first_urgent() else { return };
    let wanted = |&number: &CpuId| {
        number != cpu.number && task.entity().seems_allowed(number) && cpu::state(number).urgency < Some(urgency)
    };
    let least = peers.iter().filter(wanted).min_by_key(|&number| {
        let CpuState { urgency, tasks, load } = cpu::state(number);
        (urgency, tasks > 0, load)
    });
    drop(queue);
    if let Some(least) = least.and_then(cpu::get) {
        least.kick();
    }
}
