//! What the calls of System V objects share: commands, and the structure of owners and permissions.

use crate::arguments::abi_struct;
use process::ipc::Permission;

/// Remove the object.
pub const IPC_RMID: i32 = 0;
/// Set owner and permissions.
pub const IPC_SET: i32 = 1;
/// Tell what is known of the object.
pub const IPC_STAT: i32 = 2;
/// Tell the limits of all objects of the kind.
pub const IPC_INFO: i32 = 3;

/// Do not sleep.
pub const IPC_NOWAIT: u32 = 0o4000;

abi_struct! {
    /// `struct ipc64_perm`.
    Ipc64Perm {
        key: i32,
        uid: u32,
        gid: u32,
        creator_uid: u32,
        creator_gid: u32,
        mode: u32,
        sequence: u16,
        hole: [u8; 6],
        unused: [u64; 2],
    }
}

impl From<&Permission> for Ipc64Perm {
    fn from(permission: &Permission) -> Self {
        Self {
            key: permission.key,
            uid: permission.uid.raw(),
            gid: permission.gid.raw(),
            creator_uid: permission.creator.0.raw(),
            creator_gid: permission.creator.1.raw(),
            mode: permission.mode,
            sequence: 0,
            hole: [0; 6],
            unused: [0; 2],
        }
    }
}

/// The highest place of an object, of which there are `count`, as the `INFO` commands return it.
pub fn highest(count: usize) -> usize {
    count.saturating_sub(1)
}
