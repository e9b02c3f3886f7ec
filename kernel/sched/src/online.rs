//! CPUs that go offline and come back.
//!
//! A CPU goes offline in steps: it leaves `machine::cpu::online`, so that no task is placed there any more; whoever
//! confines tasks is told; its queue is closed, so that what was on its way there goes elsewhere; what waits there is
//! taken to other CPUs, what runs there is pushed off; then its idle loop hands its timers over and parks. A parked CPU
//! halts with interrupts on, so whoever still believed it to be online gets an answer.
//!
//! Device interrupts all go to the boot CPU, which never goes offline.

use crate::{
    WaitQueue, admission,
    cpu::{self, Cpu},
    timer, wake,
};
use base::{CpuId, Errno};
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use machine::{
    interrupts::{self, InterruptsOff},
    ipi,
    sync::{Hook, Mutex, rank},
    time,
};

/// Who must know when the CPUs that are online have changed.
pub trait OnlineChange: Sync {
    /// `machine::cpu::online` is another set than before. A CPU that has left may still have tasks; it loses them right
    /// after. One change at a time; may sleep.
    fn changed(&self);
}

/// Filled at boot.
pub static ONLINE_CHANGED: Hook<dyn OnlineChange> = Hook::new();

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(rank::CPU_ONLINE, ());

/// A CPU has parked or come back.
static ARRIVED: WaitQueue = WaitQueue::new();

/// The CPU that booted, which hears the devices.
const BOOT_CPU: CpuId = CpuId::new(0);

/// Takes a CPU offline. On return no task runs or waits there, its timers run elsewhere, and it halts. Nothing happens
/// if it is offline.
///
/// Errors: `EINVAL` it is no possible CPU; `EBUSY` it is the boot CPU, or tasks have reserved time that the other CPUs of
/// its domain can't give. Not under a spinning lock.
pub fn take_offline(number: CpuId) -> Result<(), Errno> {
    let cpu = possible(number)?;
    let _one = ONE_AT_A_TIME.lock();
    if number == BOOT_CPU {
        return Err(Errno::EBUSY);
    }
    if !machine::cpu::online().contains(number) {
        return Ok(());
    }
    let admission = admission::check_loss(cpu)?;
    machine::cpu::withdraw(number);
    drop(admission);
    tell();
    cpu.serves.store(false, SeqCst);
    cpu.queue.lock().closed = true;
    while !drained(cpu) {
        wake::give_way();
        core::hint::spin_loop();
    }
    if machine::cpu::current() == number {
        wake::schedule();
    }
    cpu.kick();
    ARRIVED.wait_until(|| cpu.parked.load(SeqCst).then_some(()));
    Ok(())
}

/// Brings a CPU back that was taken offline. Nothing happens if it is online.
///
/// Errors: `EINVAL` it is no possible CPU; `EIO` it has never been started. Not under a spinning lock.
pub fn bring_online(number: CpuId) -> Result<(), Errno> {
    let cpu = possible(number)?;
    let _one = ONE_AT_A_TIME.lock();
    if machine::cpu::online().contains(number) {
        return Ok(());
    }
    if !cpu.parked.load(SeqCst) {
        return Err(Errno::EIO);
    }
    cpu.serves.store(true, SeqCst);
    cpu.kick();
    ARRIVED.wait_until(|| (!cpu.parked.load(SeqCst)).then_some(()));
    tell();
    Ok(())
}

fn possible(number: CpuId) -> Result<&'static Cpu, Errno> {
    if !machine::cpu::possible().contains(number) {
        return Err(Errno::EINVAL);
    }
    cpu::get(number).ok_or(Errno::EINVAL)
}

fn tell() {
    if let Some(hook) = ONLINE_CHANGED.get() {
        hook.changed();
    }
}

/// Takes what waits at a closed CPU to others. Whether nothing is left: a task that is just being saved there has to
/// stay for a moment.
fn drained(cpu: &'static Cpu) -> bool {
    loop {
        let mut queue = cpu.queue.lock();
        queue.members.close(time::now());
        let taken = queue.members.steal(|task, _| !task.entity().context().is_running());
        cpu.publish(&queue);
        let Some((task, standing)) = taken else { return queue.members.waiting() == 0 };
        drop(queue);
        let mut state = task.entity().lock();
        state.standing = standing;
        wake::enqueue_on(wake::place(&task, &state), &task, &mut state);
    }
}

/// Halts this CPU, which has nothing to run, until it is to serve again. Called by its idle loop.
pub(crate) fn stay_parked(cpu: &'static Cpu, mut off: InterruptsOff) {
    machine::paging::deactivate();
    let mut queue = cpu.queue.lock();
    queue.account(cpu.number);
    let now = queue.accounted_at;
    queue.members.close(now);
    drop(queue);
    if let Some(heir) = cpu::get(BOOT_CPU) {
        timer::hand_over(cpu, heir);
        ipi::reschedule(heir.number);
    }
    machine::timer::set(None);
    cpu.armed_for.store(u64::MAX, Relaxed);
    machine::cpu::park(&off);
    cpu.parked.store(true, SeqCst);
    ARRIVED.wake_all();
    loop {
        machine::cpu::clear_wanted();
        if cpu.serves.load(SeqCst) {
            break;
        }
        machine::cpu::halt_until_interrupt(off);
        off = interrupts::off();
    }
    let mut queue = cpu.queue.lock();
    queue.closed = false;
    queue.members.open();
    queue.accounted_at = time::now();
    drop(queue);
    machine::cpu::unpark(&off);
    cpu.parked.store(false, SeqCst);
    drop(off);
    ARRIVED.wake_all();
}
