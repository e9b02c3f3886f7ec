//! Who may look into another task: into its memory, its files, where its pages lie.

use crate::{core_dump::Dumpable, task::Task};
use base::Capabilities;

/// As which of its users a task asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessAs {
    /// The one that counts for files: for what is opened in /proc.
    FileUser,
    /// The real one: for system calls.
    RealUser,
}

/// Whether `asker` may look into `task`: it is of the same process, or all users and groups of it are the asker's, it is
/// dumpable and has no capability that the asker has not, or the asker has CAP_SYS_PTRACE.
///
/// Rule: ptrace(2), "Ptrace access mode checking".
pub fn may_inspect(asker: &Task, task: &Task, access: AccessAs) -> bool {
    if asker.pid() == task.pid() {
        return true;
    }
    let (own, other) = (asker.credentials(), task.credentials());
    let (uid, gid, capabilities) = match access {
        AccessAs::FileUser => (own.fsuid, own.fsgid, own.effective),
        AccessAs::RealUser => (own.uid, own.gid, own.permitted),
    };
    let same_user = [other.uid, other.euid, other.suid].iter().all(|&other| other == uid);
    let same_group = [other.gid, other.egid, other.sgid].iter().all(|&other| other == gid);
    let is_dumpable = task.process().dumpable() == Dumpable::Yes;
    let has_no_more = capabilities.contains(other.permitted);
    same_user && same_group && is_dumpable && has_no_more || own.has(Capabilities::SYS_PTRACE)
}
