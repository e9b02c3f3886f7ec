//! Signals to the owners of files: `F_SETOWN` and its like, and the thread that sends what [`vfs::notice`] collects.

use crate::{
    population::Population,
    process::Process,
    signals::{Detail, Signal, SignalInfo, SignalSet, code, send},
    task::Task,
};
use alloc::{sync::Arc, vec::Vec};
use base::{Credentials, Errno, Pid, Uid};
use core::any::Any;
use vfs::notice::{self, Notice, Owner, OwnerKind};

/// Whom `caller` makes the owner of a file; the number 0 is nobody. `ESRCH` there is no such thread, process or group.
pub fn owner(caller: &Task, kind: OwnerKind, number: Pid) -> Result<Option<Owner>, Errno> {
    if number.raw() == 0 {
        return Ok(None);
    }
    let population = caller.population();
    let holder = match kind {
        OwnerKind::Thread | OwnerKind::Process => {
            let task = population.task(number).ok_or(Errno::ESRCH)?;
            let holder: Arc<dyn Any + Send + Sync> =
                if kind == OwnerKind::Thread { task } else { task.process().clone() };
            Some(Arc::downgrade(&holder))
        }
        OwnerKind::Group => {
            if population.tree().group(number).is_empty() {
                return Err(Errno::ESRCH);
            }
            None
        }
    };
    let who = caller.credentials();
    Ok(Some(Owner { kind, number, holder, uid: who.uid, euid: who.euid }))
}

/// What the thread does, for ever.
pub(crate) fn run(population: &Population) -> ! {
    loop {
        sched::between_jobs();
        deliver(population, &notice::next());
    }
}

fn deliver(population: &Population, notice: &Notice) {
    let Owner { kind, number, holder, .. } = &notice.owner;
    let holder = holder.as_ref().and_then(|holder| holder.upgrade());
    match kind {
        OwnerKind::Thread => {
            if let Some(task) = holder.and_then(|holder| holder.downcast::<Task>().ok()) {
                tell(notice, &task.credentials(), |info| send::to_task(&task, info));
            }
        }
        OwnerKind::Process => {
            if let Some(process) = holder.and_then(|holder| holder.downcast::<Process>().ok()) {
                tell_process(notice, &process);
            }
        }
        OwnerKind::Group => {
            let members: Vec<Arc<Process>> = population.tree().group(*number).to_vec();
            members.iter().for_each(|process| tell_process(notice, process));
        }
    }
}

fn tell_process(notice: &Notice, process: &Arc<Process>) {
    if let Some(leader) = process.leader() {
        tell(notice, &leader.credentials(), |info| send::to_process(process, info));
    }
}

/// Sends the signal that was asked for with its facts, or SIGIO where that is refused, to who has these credentials.
fn tell(notice: &Notice, target: &Credentials, send: impl Fn(SignalInfo) -> Result<(), Errno>) {
    if !may_tell(&notice.owner, target) {
        return;
    }
    let wanted = Signal::new(notice.signal.into()).ok();
    if wanted.is_some_and(|signal| send(info(notice, signal)).is_ok()) {
        return;
    }
    // The kernel's own signals are never refused.
    let _ = send(SignalInfo::kernel(Signal::IO));
}

/// Who made somebody the owner must be one who may send it signals.
fn may_tell(owner: &Owner, target: &Credentials) -> bool {
    let is_target = |user| [target.uid, target.suid].contains(&user);
    owner.euid == Uid::ROOT || is_target(owner.euid) || is_target(owner.uid)
}

fn info(notice: &Notice, signal: Signal) -> SignalInfo {
    // These have codes of their own with the same numbers.
    let specific =
        SignalSet::of(&[Signal::ILL, Signal::FPE, Signal::SEGV, Signal::BUS, Signal::TRAP, Signal::CHLD, Signal::SYS]);
    let code = if specific.contains(signal) { code::POLL } else { notice.reason as i32 };
    let detail = Detail::File { band: notice.reason.band(), descriptor: notice.descriptor };
    SignalInfo { signal, code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vfs::notice::Reason;

    fn notice(signal: u8, uid: u32) -> Notice {
        let (uid, number) = (Uid::new(uid), Pid::new(5));
        let owner = Owner { kind: OwnerKind::Process, number, holder: None, uid, euid: uid };
        Notice { owner, signal, descriptor: 7, reason: Reason::Readable }
    }

    #[test]
    fn only_who_may_signal_the_owner_has_it_told() {
        let target = Credentials { uid: Uid::new(5), suid: Uid::new(6), ..Credentials::root() };
        let told = |uid| may_tell(&notice(0, uid).owner, &target);
        assert_eq!([0, 5, 6, 7].map(told), [true, true, true, false]);
    }

    #[test]
    fn the_facts_lie_where_linux_puts_them() {
        let bytes = info(&notice(40, 0), Signal::new(40).unwrap()).to_bytes();
        assert_eq!(bytes[8..12], 1i32.to_le_bytes());
        assert_eq!(bytes[16..24], 0x41u64.to_le_bytes());
        assert_eq!(bytes[24..28], 7i32.to_le_bytes());
        assert_eq!(info(&notice(17, 0), Signal::CHLD).code, code::POLL);
    }
}
