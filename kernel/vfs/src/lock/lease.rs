//! Leases, `F_SETLEASE` of `fcntl(2)`: who has one is told before another opens or shortens the file in a way that
//! conflicts with it, and that other one waits until the lease is given up, or taken away after a while.

use super::{FileLocks, LockKind, LockOwner, table::LockedFile};
use crate::{
    FileKind, Inode, OpenFile, OpenFlags,
    notice::{self, Owner, Reason},
};
use alloc::sync::{Arc, Weak};
use base::{Capabilities, Credentials, Errno, Pid};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use machine::{sync::Hook, time};
use sched::WaitError;

/// Knows all files that are open.
pub trait OpenFiles: Sync {
    /// Whether this is true of any of them. Called with no lock held; `of` takes none but small ones of an inode.
    fn any(&self, of: &mut dyn FnMut(&OpenFile) -> bool) -> bool;
}

/// Installed once at boot.
pub static OPEN_FILES: Hook<dyn OpenFiles> = Hook::new();

/// How many leases there are: without any, opening a file costs a look at this.
static LEASES: AtomicUsize = AtomicUsize::new(0);
/// `leases-enable`.
static ENABLED: AtomicBool = AtomicBool::new(true);
/// `lease-break-time`, in seconds.
static PATIENCE: AtomicI32 = AtomicI32::new(45);

/// Whether new leases are given.
pub fn enabled() -> bool {
    ENABLED.load(Relaxed)
}

/// Says whether new leases are given.
pub fn enable(on: bool) {
    ENABLED.store(on, Relaxed);
}

/// After how many seconds a lease is taken away that is in the way; 0 or less is never.
pub fn patience() -> i32 {
    PATIENCE.load(Relaxed)
}

/// Sets that, for leases that come to be in the way later.
pub fn set_patience(seconds: i32) {
    PATIENCE.store(seconds, Relaxed);
}

/// How it stands with a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaseState {
    /// Nobody minds.
    Active,
    /// Somebody waits for it to be given up or to become one for reading.
    Breaking,
}

/// What a lease is to become, and when (boot time, ns) that is done by force.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Break {
    to: Option<LockKind>,
    deadline: Option<u64>,
}

/// A lease.
pub(super) struct Lease {
    file: Weak<OpenFile>,
    owner: LockOwner,
    descriptor: i32,
    process: Pid,
    kind: LockKind,
    breaking: Option<Break>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        LEASES.fetch_sub(1, SeqCst);
    }
}

impl Lease {
    fn new(file: &Arc<OpenFile>, descriptor: i32, process: Pid, kind: LockKind) -> Self {
        LEASES.fetch_add(1, SeqCst);
        let owner = LockOwner::of_file(file);
        Self { file: Arc::downgrade(file), owner, descriptor, process, kind, breaking: None }
    }

    pub fn owner(&self) -> LockOwner {
        self.owner
    }

    pub fn process(&self) -> Pid {
        self.process
    }

    pub fn state(&self) -> LeaseState {
        if self.breaking.is_some() { LeaseState::Breaking } else { LeaseState::Active }
    }

    /// What it is, or is to become.
    pub fn target(&self) -> Option<LockKind> {
        self.breaking.map_or(Some(self.kind), |breaking| breaking.to)
    }

    fn conflicts(&self, writes: bool) -> bool {
        writes || self.kind == LockKind::Exclusive
    }

    /// Somebody wants to open the file: the owner is told, unless it was told as much already.
    fn begin_break(&mut self, writes: bool, now: u64) {
        let told = match self.breaking {
            None => false,
            Some(Break { to, .. }) => !writes || to.is_none(),
        };
        if told {
            return;
        }
        let patience = u64::try_from(patience()).ok().filter(|&seconds| seconds > 0);
        let deadline = patience.map(|seconds| now.saturating_add(seconds * 1_000_000_000));
        self.breaking = Some(Break { to: if writes { None } else { Some(LockKind::Shared) }, deadline });
        notice::tell(self.file.clone(), self.descriptor, Reason::Message);
    }
}

impl LockedFile {
    /// Takes away or weakens what was not given up in time.
    fn expire(&self, locks: &FileLocks, now: u64) {
        let due = |lease: &Lease| lease.breaking.and_then(|breaking| breaking.deadline).is_some_and(|at| at <= now);
        if self.lists.lock().leases.iter().any(due) {
            self.change(locks, |lists| {
                lists
                    .leases
                    .retain(|lease| !(due(lease) && lease.breaking.is_some_and(|breaking| breaking.to.is_none())));
                for lease in lists.leases.iter_mut().filter(|lease| due(lease)) {
                    (lease.kind, lease.breaking) = (LockKind::Shared, None);
                }
            });
        }
    }

    /// Asks for leases that conflict to be given up: the earliest time at which one is taken away (`None` never), if there
    /// are any.
    fn break_conflicting(&self, writes: bool, now: u64) -> Option<Option<u64>> {
        let mut lists = self.lists.lock();
        let mut conflicting = lists.leases.iter_mut().filter(|lease| lease.conflicts(writes)).peekable();
        conflicting.peek()?;
        let deadlines = conflicting.map(|lease| {
            lease.begin_break(writes, now);
            lease.breaking.and_then(|breaking| breaking.deadline)
        });
        Some(deadlines.flatten().min())
    }

    fn is_leased(&self, writes: bool) -> bool {
        self.lists.lock().leases.iter().any(|lease| lease.conflicts(writes))
    }
}

/// Whether there is any lease.
#[inline]
pub(crate) fn any() -> bool {
    LEASES.load(SeqCst) != 0
}

/// Somebody opens `inode`, or shortens it: waits until no lease is in the way. `EAGAIN` one is, with `NONBLOCK`; `EINTR`.
/// Locks: may sleep; call with none held.
#[cold]
pub(crate) fn break_leases(inode: &dyn Inode, flags: OpenFlags) -> Result<(), Errno> {
    let Some(locks) = inode.locks() else { return Ok(()) };
    let Some(file) = locks.known() else { return Ok(()) };
    let writes = flags.writes() || flags.contains(OpenFlags::TRUNCATE);
    loop {
        let now = time::now();
        file.expire(locks, now);
        let Some(deadline) = file.break_conflicting(writes, now) else { return Ok(()) };
        if flags.contains(OpenFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        let free = || (!file.is_leased(writes)).then_some(());
        match file.released.wait_until_interruptible(free, deadline) {
            Ok(()) | Err(WaitError::TimedOut) => {}
            Err(WaitError::Interrupted) => return Err(Errno::EINTR),
        }
    }
}

/// `F_SETLEASE`: takes or changes (`Some`) or gives up the lease of an open file; `owner` is told unless it has another.
///
/// `EACCES` the file is another user's, and the caller has no CAP_LEASE; `EINVAL` no regular file of a file system with locks,
/// or no leases are given; `EAGAIN` there is none to give up, the file is open in a way that conflicts, or somebody else has
/// one that does; `ENOMEM`.
pub fn set(
    file: &Arc<OpenFile>,
    kind: Option<LockKind>,
    descriptor: i32,
    process: Pid,
    (credentials, owner): (&Credentials, Owner),
) -> Result<(), Errno> {
    let inode = file.inode();
    if credentials.fsuid != inode.ownership().uid && !credentials.has(Capabilities::LEASE) {
        return Err(Errno::EACCES);
    }
    if inode.kind() != FileKind::Regular {
        return Err(Errno::EINVAL);
    }
    let locks = inode.locks().ok_or(Errno::EINVAL)?;
    let own = LockOwner::of_file(file);
    let is_own = |lease: &Lease| lease.owner == own;
    let Some(kind) = kind else {
        let known = locks.known().ok_or(Errno::EAGAIN)?;
        return known.change(locks, |lists| {
            let before = lists.leases.len();
            lists.leases.retain(|lease| !is_own(lease));
            if lists.leases.len() < before { Ok(()) } else { Err(Errno::EAGAIN) }
        });
    };
    let known = locks.made(&**inode);
    known.expire(locks, time::now());
    // It is there before the open files are looked at: who opens the file from now on finds it.
    let fresh = Lease::new(file, descriptor, process, kind);
    let before = known.change(locks, |lists| {
        let mut others = lists.leases.iter().filter(|lease| !is_own(lease));
        let refuses = |other: &Lease| kind == LockKind::Exclusive || other.target() != Some(LockKind::Shared);
        if others.any(refuses) {
            return Err(Errno::EAGAIN);
        }
        match lists.leases.iter_mut().find(|lease| is_own(lease)) {
            Some(lease) => Ok(Some(core::mem::replace(lease, fresh))),
            None if !enabled() => Err(Errno::EINVAL),
            None => {
                lists.leases.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                lists.leases.push(fresh);
                Ok(None)
            }
        }
    })?;
    let conflicts = |other: &OpenFile| {
        let same = core::ptr::addr_eq(Arc::as_ptr(other.inode()), Arc::as_ptr(inode));
        let flags = other.flags();
        match kind {
            LockKind::Shared => same && flags.writes(),
            LockKind::Exclusive => same && !flags.contains(OpenFlags::PATH) && !core::ptr::eq(other, &**file),
        }
    };
    if OPEN_FILES.get().is_some_and(|files| files.any(&mut { conflicts })) {
        known.change(locks, |lists| {
            lists.leases.retain(|lease| !is_own(lease));
            lists.leases.extend(before);
        });
        return Err(Errno::EAGAIN);
    }
    file.set_first_owner(owner);
    Ok(())
}

/// `F_GETLEASE`: what the lease of an open file is, or is to become.
pub fn get(file: &OpenFile) -> Option<LockKind> {
    let locks = file.inode().locks()?;
    let known = locks.known()?;
    known.expire(locks, time::now());
    let own = LockOwner::of_file(file);
    known.lists.lock().leases.iter().find(|lease| lease.owner == own)?.target()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Permissions, Start, notice::OwnerKind, testing::with_caller};
    use base::Uid;

    fn owner() -> Owner {
        let (uid, number) = (Uid::ROOT, Pid::new(9));
        Owner { kind: OwnerKind::Process, number, holder: None, uid, euid: uid }
    }

    fn lease(file: &Arc<OpenFile>, kind: Option<LockKind>) -> Result<(), Errno> {
        set(file, kind, 3, Pid::new(9), (file.credentials(), owner()))
    }

    #[test]
    fn who_wants_the_file_has_the_owner_told_and_waits() {
        with_caller(|caller| {
            let open = |flags| caller.open(Start::WorkingDirectory, b"/leased", flags, Permissions::new(0o600));
            let file = open(OpenFlags::CREATE | OpenFlags::READ_WRITE).unwrap();
            assert_eq!(lease(&file, None), Err(Errno::EAGAIN));
            assert_eq!((lease(&file, Some(LockKind::Shared)), get(&file)), (Ok(()), Some(LockKind::Shared)));
            drop(open(OpenFlags::NONBLOCK).unwrap());
            let writes = OpenFlags::WRITE_ONLY | OpenFlags::NONBLOCK;
            for _ in 0..2 {
                assert!(matches!(open(writes), Err(Errno::EAGAIN)));
            }
            let told = notice::next();
            assert_eq!((told.descriptor, told.reason, told.owner.number), (3, Reason::Message, Pid::new(9)));
            assert_eq!((lease(&file, None), get(&file)), (Ok(()), None));
            drop(open(writes).unwrap());

            // One for writing is to become one for reading, or is made that.
            assert_eq!(lease(&file, Some(LockKind::Exclusive)), Ok(()));
            assert!(matches!(open(OpenFlags::NONBLOCK), Err(Errno::EAGAIN)));
            assert_eq!((get(&file), notice::next().descriptor), (Some(LockKind::Shared), 3));
            let inode = file.inode().clone();
            let known = inode.locks().unwrap().known().unwrap();
            known.expire(inode.locks().unwrap(), u64::MAX);
            drop(open(OpenFlags::NONBLOCK).unwrap());
            assert!(matches!(open(writes), Err(Errno::EAGAIN)));
            assert_eq!(notice::next().descriptor, 3);

            // The end of the file is the end of its lease.
            assert_eq!(known.lists.lock().leases.len(), 1);
            drop(file);
            assert!(known.lists.lock().leases.is_empty());
            drop(open(writes).unwrap());
        });
    }
}
