//! Resource limits of a process, `prlimit(2)`.

use base::{Capabilities, Credentials, Errno};

/// What is limited; the values are `RLIMIT_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Resource {
    /// CPU time in seconds.
    CpuTime = 0,
    /// The largest file that may be written.
    FileSize = 1,
    /// The data segment.
    Data = 2,
    /// The stack.
    Stack = 3,
    /// Core files.
    Core = 4,
    /// Resident pages; not enforced, as on Linux.
    Resident = 5,
    /// Tasks of the user.
    Processes = 6,
    /// One more than the largest file descriptor.
    Files = 7,
    /// Locked memory.
    LockedMemory = 8,
    /// Address space.
    AddressSpace = 9,
    /// File locks.
    Locks = 10,
    /// Queued signals.
    PendingSignals = 11,
    /// POSIX message queues.
    MessageQueue = 12,
    /// How far nice may be lowered: 20 − value.
    Nice = 13,
    /// Real-time priority.
    RealTimePriority = 14,
    /// Real-time run time.
    RealTimeTime = 15,
}

/// How many resources there are.
pub const RESOURCES: usize = 16;

/// No limit.
pub const INFINITY: u64 = u64::MAX;

impl Resource {
    const ALL: [Self; RESOURCES] = [
        Self::CpuTime,
        Self::FileSize,
        Self::Data,
        Self::Stack,
        Self::Core,
        Self::Resident,
        Self::Processes,
        Self::Files,
        Self::LockedMemory,
        Self::AddressSpace,
        Self::Locks,
        Self::PendingSignals,
        Self::MessageQueue,
        Self::Nice,
        Self::RealTimePriority,
        Self::RealTimeTime,
    ];

    /// The resource with this number; `EINVAL` if there is none.
    pub fn new(number: u32) -> Result<Self, Errno> {
        Self::ALL.get(number as usize).copied().ok_or(Errno::EINVAL)
    }
}

/// One limit: what holds now and how far it may be raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What holds.
    pub soft: u64,
    /// The most that `soft` may be set to.
    pub hard: u64,
}

/// All limits of a process.
#[derive(Clone, Debug)]
pub struct Limits([Limit; RESOURCES]);

impl Limits {
    /// Those of pid 1, with Linux's values; `tasks` is the most tasks that the machine can hold.
    pub fn initial(tasks: u64) -> Self {
        let unlimited = Limit { soft: INFINITY, hard: INFINITY };
        let both = |value| Limit { soft: value, hard: value };
        let mut limits = [unlimited; RESOURCES];
        limits[Resource::Stack as usize].soft = 8 << 20;
        limits[Resource::Core as usize].soft = 0;
        limits[Resource::Processes as usize] = both(tasks / 2);
        limits[Resource::Files as usize] = Limit { soft: 1024, hard: 4096 };
        limits[Resource::LockedMemory as usize] = both(8 << 20);
        limits[Resource::PendingSignals as usize] = both(tasks / 2);
        limits[Resource::MessageQueue as usize] = both(819_200);
        limits[Resource::Nice as usize] = both(0);
        limits[Resource::RealTimePriority as usize] = both(0);
        Self(limits)
    }

    /// The limit of one resource.
    pub fn get(&self, resource: Resource) -> Limit {
        self.0[resource as usize]
    }

    /// The value that holds for one resource.
    pub fn soft(&self, resource: Resource) -> u64 {
        self.get(resource).soft
    }

    /// Sets a limit and returns the old one. `EINVAL` soft above hard; `EPERM` raising hard without
    /// CAP_SYS_RESOURCE, or more files than anybody may have.
    pub fn set(&mut self, resource: Resource, new: Limit, who: &Credentials) -> Result<Limit, Errno> {
        let old = self.get(resource);
        if new.soft > new.hard {
            return Err(Errno::EINVAL);
        }
        if resource == Resource::Files && new.hard > vfs::most_descriptors() {
            return Err(Errno::EPERM);
        }
        if new.hard > old.hard && !who.has(Capabilities::SYS_RESOURCE) {
            return Err(Errno::EPERM);
        }
        self.0[resource as usize] = new;
        Ok(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_privileged_raise_a_hard_limit() {
        let mut limits = Limits::initial(1000);
        let mut user = Credentials::root();
        user.effective = Capabilities::empty();
        let files = |soft, hard| Limit { soft, hard };
        assert_eq!(limits.set(Resource::Files, files(10, 20), &user), Ok(files(1024, 4096)));
        assert_eq!(limits.set(Resource::Files, files(10, 21), &user), Err(Errno::EPERM));
        assert_eq!(limits.set(Resource::Files, files(30, 20), &user), Err(Errno::EINVAL));
        assert_eq!(limits.set(Resource::Files, files(10, 4096), &Credentials::root()), Ok(files(10, 20)));
        assert_eq!(
            limits.set(Resource::Files, files(10, vfs::most_descriptors() + 1), &Credentials::root()),
            Err(Errno::EPERM)
        );
        assert_eq!(Resource::new(16), Err(Errno::EINVAL));
    }
}
