//! Names of sockets: paths and abstract names, and who is bound to them.

use super::{Core, SocketType};
use crate::{Caller, Follow, NodeKind, Permissions, Start, permission};
use alloc::{
    collections::BTreeMap,
    format,
    sync::{Arc, Weak},
    vec::Vec,
};
use base::Errno;
use machine::sync::{SpinLock, rank};

/// The name of a local socket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Address {
    /// None.
    #[default]
    Unnamed,
    /// A path.
    Path(Vec<u8>),
    /// A name of the abstract kind (without its leading NUL).
    Abstract(Vec<u8>),
}

/// The socket that is bound to a name in a file system.
pub struct BoundSocket(SpinLock<Weak<Core>>);

impl Default for BoundSocket {
    fn default() -> Self {
        Self(SpinLock::new(rank::FILE_STATE, Weak::new()))
    }
}

/// The abstract names of a kernel; each type of socket has its own.
pub(crate) struct AbstractNames(SpinLock<NamesByType>);

type NamesByType = BTreeMap<(SocketType, Vec<u8>), Weak<Core>>;

impl Default for AbstractNames {
    fn default() -> Self {
        Self(SpinLock::new(rank::FILE_STATE, BTreeMap::new()))
    }
}

/// Gives a socket a name. `EADDRINUSE` it is taken; for a path also the errors of making a file.
pub(super) fn bind(core: &Arc<Core>, caller: &Caller<'_>, address: &Address) -> Result<(), Errno> {
    match address {
        Address::Unnamed => Err(Errno::EINVAL),
        Address::Path(path) => {
            let made = caller.make_inode(Start::WorkingDirectory, path, NodeKind::Socket, Permissions::new(0o777));
            let location = made.map_err(|error| if error == Errno::EEXIST { Errno::EADDRINUSE } else { error })?;
            let bound = location.inode.bound_socket().ok_or(Errno::EPERM)?;
            *bound.0.lock() = Arc::downgrade(core);
            Ok(())
        }
        Address::Abstract(name) => {
            let mut names = caller.context.namespace().registry().abstract_names().0.lock();
            names.retain(|_, core| core.strong_count() > 0);
            let key = (core.kind, name.clone());
            if names.contains_key(&key) {
                return Err(Errno::EADDRINUSE);
            }
            names.insert(key, Arc::downgrade(core));
            Ok(())
        }
    }
}

/// Gives a socket an abstract name that nobody has: five hexadecimal digits. `ENOSPC` all are taken.
pub(super) fn bind_automatically(core: &Arc<Core>, caller: &Caller<'_>) -> Result<Address, Errno> {
    const NAMES: u32 = 1 << 20;
    let mut seed = [0; 4];
    machine::random::fill(&mut seed);
    let first = u32::from_le_bytes(seed);
    for step in 0..NAMES {
        let name = Address::Abstract(format!("{:05x}", first.wrapping_add(step) % NAMES).into_bytes());
        match bind(core, caller, &name) {
            Err(Errno::EADDRINUSE) => {}
            result => return result.map(|()| name),
        }
    }
    Err(Errno::ENOSPC)
}

/// The socket of this type with this name. `ECONNREFUSED` nobody has it (any more); for a path also `EPROTOTYPE` it is
/// another type's, `ENOENT`, `EACCES` without write permission and the other errors of a walk.
pub(super) fn find(caller: &Caller<'_>, address: &Address, kind: SocketType) -> Result<Arc<Core>, Errno> {
    match address {
        Address::Unnamed => Err(Errno::EINVAL),
        Address::Path(path) => {
            let location = caller.resolve(Start::WorkingDirectory, path, Follow::Yes)?;
            permission::check_inode(&*location.inode, caller.credentials, permission::WRITE)?;
            let bound = location.inode.bound_socket().ok_or(Errno::ECONNREFUSED)?;
            let core = bound.0.lock().upgrade().ok_or(Errno::ECONNREFUSED)?;
            if core.kind == kind { Ok(core) } else { Err(Errno::EPROTOTYPE) }
        }
        Address::Abstract(name) => {
            let names = caller.context.namespace().registry().abstract_names().0.lock();
            names.get(&(kind, name.clone())).and_then(Weak::upgrade).ok_or(Errno::ECONNREFUSED)
        }
    }
}
