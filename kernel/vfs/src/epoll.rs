//! `poll`, `select` and epoll.

use crate::{FileTable, OpenFile, PollEvents};
use alloc::sync::Arc;
use base::{Credentials, Errno};

/// One descriptor in a `poll(2)`.
#[derive(Clone, Copy, Debug)]
pub struct PollRequest {
    /// The descriptor; a negative one is skipped.
    pub descriptor: i32,
    /// What is asked for.
    pub events: PollEvents,
    /// What was found.
    pub found: PollEvents,
}

/// Waits until something asked for is there or `deadline` (boot time, ns; `None` forever) is past; the number of
/// requests with a result. `EINTR`.
pub fn poll(_table: &FileTable, _requests: &mut [PollRequest], _deadline: Option<u64>) -> Result<usize, Errno> {
    todo!()
}

/// What `epoll_ctl(2)` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpollChange {
    /// `EPOLL_CTL_ADD`.
    Add(EpollEvent),
    /// `EPOLL_CTL_DEL`.
    Remove,
    /// `EPOLL_CTL_MOD`.
    Modify(EpollEvent),
}

/// `struct epoll_event`: event bits (with `EPOLLET`, `EPOLLONESHOT`, `EPOLLEXCLUSIVE`) and the user's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EpollEvent {
    /// Event bits.
    pub events: u32,
    /// The user's word.
    pub data: u64,
}

/// `epoll_create1(2)`.
pub fn epoll(_credentials: &Arc<Credentials>) -> Result<Arc<OpenFile>, Errno> {
    todo!()
}

/// `epoll_ctl(2)` on `target`, open under `descriptor`. `EINVAL` no epoll file or itself, `EEXIST`, `ENOENT`,
/// `EPERM` a file that can't be polled, `ELOOP` a ring of epoll files.
pub fn epoll_control(
    _epoll: &OpenFile,
    _descriptor: i32,
    _target: &Arc<OpenFile>,
    _change: EpollChange,
) -> Result<(), Errno> {
    todo!()
}

/// `epoll_wait(2)`: fills `events` and says how many. `EINVAL` no epoll file, `EINTR`.
pub fn epoll_wait(_epoll: &OpenFile, _events: &mut [EpollEvent], _deadline: Option<u64>) -> Result<usize, Errno> {
    todo!()
}
