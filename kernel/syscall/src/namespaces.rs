//! Calls about namespaces, of which there is one of each kind.

use crate::{arguments::UserPtr, call::Call};
use alloc::vec::Vec;
use base::{Errno, Uid};
use process::{
    AccessAs, may_inspect,
    namespaces::{self, NamespaceKind},
    process_file,
};
use vfs::OpenFile;

/// `setns(2)`: by the file of a namespace, or by a pidfd the namespaces of the flags.
///
/// Errors: `EBADF`; `EINVAL` another kind of file, or of namespace than the flag says, or unknown flags; `EPERM` the process may
/// not be looked at; those of [`process::Task::enter`].
pub fn setns(call: &Call<'_>, descriptor: i32, flags: u32) -> Result<usize, Errno> {
    let file = call.file(descriptor)?;
    if let Some(kind) = namespaces::kind_of(&file) {
        let is_right = flags == 0 || flags == kind.flag();
        return if is_right { call.task.enter(&[kind]).map(|()| 0) } else { Err(Errno::EINVAL) };
    }
    let process = process_file::process_of(&file).ok_or(Errno::EINVAL)?;
    let kinds: Vec<_> = NamespaceKind::ALL.into_iter().filter(|kind| flags & kind.flag() != 0).collect();
    let known = kinds.iter().fold(0, |known, kind| known | kind.flag());
    if flags == 0 || flags != known {
        return Err(Errno::EINVAL);
    }
    let task = process.leader().ok_or(Errno::ESRCH)?;
    if !may_inspect(call.task, &task, AccessAs::RealUser) {
        return Err(Errno::EPERM);
    }
    call.task.enter(&kinds).map(|()| 0)
}

const GET_USER_NAMESPACE: u32 = 0xb701;
const GET_PARENT: u32 = 0xb702;
const GET_TYPE: u32 = 0xb703;
const GET_OWNER: u32 = 0xb704;

/// `ioctl_ns(2)`; `None` if the file is none of a namespace or the request none of these. `EPERM` what is asked for is beyond
/// the first namespace; `EINVAL` there is no such thing.
pub fn control(call: &Call<'_>, file: &OpenFile, request: u32, argument: u64) -> Option<Result<usize, Errno>> {
    if !(GET_USER_NAMESPACE..=GET_OWNER).contains(&request) {
        return None;
    }
    let kind = namespaces::kind_of(file)?;
    Some(match (request, kind) {
        (GET_TYPE, _) => Ok(kind.flag() as usize),
        (GET_USER_NAMESPACE, NamespaceKind::User) => Err(Errno::EPERM),
        (GET_USER_NAMESPACE, _) => namespaces::open(NamespaceKind::User).and_then(|owner| call.insert(owner, true)),
        (GET_PARENT, NamespaceKind::User | NamespaceKind::Pid) => Err(Errno::EPERM),
        (GET_OWNER, NamespaceKind::User) => UserPtr::<u32>::at(argument).write(&Uid::ROOT.raw()).map(|()| 0),
        _ => Err(Errno::EINVAL),
    })
}
