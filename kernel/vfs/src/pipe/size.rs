//! How large pipes may be: their capacity, and the pages of all pipes of a user, `pipe(7)`.
//!
//! A pipe counts for who made it; a FIFO for who opened it first, until its last end is closed.

use super::{ATOMIC, Pipe, PipeEnd, pipe_of, state::State};
use crate::{
    OpenFile, PollEvents,
    by_user::{ByUser, Share, UserCount},
};
use alloc::sync::Arc;
use base::{Capabilities, Credentials, Errno};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// The pages of a new pipe.
const DEFAULT_PAGES: u64 = 16;
/// Those of a pipe of a user that has more than its share.
const FEW_PAGES: u64 = 2;
/// The most capacity that there is.
const LARGEST: u64 = 1 << 31;
/// Bytes in a page.
const PAGE: u64 = ATOMIC as u64;

static USERS: ByUser = ByUser::new();
static MOST_BYTES: AtomicU32 = AtomicU32::new(1 << 20);
static SOFT_PAGES: AtomicU64 = AtomicU64::new(16_384);
static HARD_PAGES: AtomicU64 = AtomicU64::new(0);

/// The most bytes that the unprivileged may ask for (`pipe-max-size`).
pub fn most_bytes() -> u32 {
    MOST_BYTES.load(Relaxed)
}

/// Sets that, rounded up as a capacity is. `EINVAL` over 2 GiB.
pub fn set_most_bytes(bytes: u64) -> Result<(), Errno> {
    MOST_BYTES.store(rounded(bytes)? as u32, Relaxed);
    Ok(())
}

/// What an unprivileged user's pipes may have in all, in pages, 0 being no limit: beyond `soft`
/// (`pipe-user-pages-soft`) new ones are small, beyond `hard` (`pipe-user-pages-hard`) there are none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserPages {
    /// The limit beyond which new pipes are small.
    pub soft: u64,
    /// The limit beyond which there are none.
    pub hard: u64,
}

impl UserPages {
    fn is_exceeded(most: u64, pages: u64) -> bool {
        most != 0 && pages > most
    }
}

/// The limits on a user's pages.
pub fn user_pages() -> UserPages {
    UserPages { soft: SOFT_PAGES.load(Relaxed), hard: HARD_PAGES.load(Relaxed) }
}

/// Sets the limits on a user's pages.
pub fn set_user_pages(limits: UserPages) {
    SOFT_PAGES.store(limits.soft, Relaxed);
    HARD_PAGES.store(limits.hard, Relaxed);
}

/// Whether the limits on a user's pages hold for the owner of these credentials.
fn is_limited(credentials: &Credentials) -> bool {
    !credentials.has(Capabilities::SYS_RESOURCE) && !credentials.has(Capabilities::SYS_ADMIN)
}

/// Bytes rounded up to a power of two of pages. `EINVAL` over 2 GiB.
fn rounded(bytes: u64) -> Result<u64, Errno> {
    if bytes > LARGEST { Err(Errno::EINVAL) } else { Ok(bytes.next_power_of_two().max(PAGE)) }
}

impl State {
    /// Has a pipe without ends begin to count for a user. `ENOMEM` the user has too many pages.
    fn begin(&mut self, user: &UserCount, credentials: &Credentials) -> Result<(), Errno> {
        let most = u64::from(most_bytes()) / PAGE;
        let may_have_more = credentials.has(Capabilities::SYS_RESOURCE);
        let mut pages = Share::new(user, if may_have_more { DEFAULT_PAGES } else { DEFAULT_PAGES.min(most) });
        if is_limited(credentials) {
            let limits = user_pages();
            if UserPages::is_exceeded(limits.soft, pages.total()) {
                pages.resize(FEW_PAGES.min(pages.amount()));
            }
            if UserPages::is_exceeded(limits.hard, pages.total()) {
                return Err(Errno::ENOMEM);
            }
        }
        self.capacity = (pages.amount() * PAGE) as usize;
        self.pages = Some(pages);
        Ok(())
    }
}

impl Pipe {
    /// Another end. The first one has the pipe count for a user: `ENOMEM` that has too many pages.
    pub(super) fn open_end(
        self: &Arc<Self>,
        (reads, writes): (bool, bool),
        credentials: &Credentials,
    ) -> Result<PipeEnd, Errno> {
        let user = USERS.of(credentials.uid);
        let mut state = self.state.change();
        if state.pages.is_none() {
            state.begin(&user, credentials)?;
        }
        state.readers += usize::from(reads);
        state.writers += usize::from(writes);
        state.reader_opens += u64::from(reads);
        state.writer_opens += u64::from(writes);
        let mut concern = PollEvents::empty();
        concern.set(PollEvents::READABLE | PollEvents::HANG_UP, reads);
        concern.set(PollEvents::WRITABLE | PollEvents::ERROR, writes);
        Ok(PipeEnd { pipe: self.clone(), reads, writes, concern, writers_before: state.writer_opens })
    }
}

/// The capacity of a pipe's end, `F_GETPIPE_SZ`; `EBADF` for another file.
pub fn capacity(file: &OpenFile) -> Result<usize, Errno> {
    Ok(pipe_of(file)?.state.look().capacity)
}

/// Sets the capacity, `F_SETPIPE_SZ`: rounded up to a power of two of pages; the new value. `EBUSY` more is in it;
/// `EPERM` it would grow beyond what the unprivileged may ask for, or beyond the limits on its user's pages; `EINVAL`
/// over 2 GiB; `EBADF`.
pub fn set_capacity(file: &OpenFile, bytes: u64, credentials: &Credentials) -> Result<usize, Errno> {
    let pipe = pipe_of(file)?;
    let capacity = rounded(bytes)?;
    let mut state = pipe.state.change();
    let grows = capacity > state.capacity as u64;
    if grows && capacity > u64::from(most_bytes()) && !credentials.has(Capabilities::SYS_RESOURCE) {
        return Err(Errno::EPERM);
    }
    let used = (state.ring.len() + state.held) as u64;
    // It has this end.
    let pages = state.pages.as_mut().ok_or(Errno::EBADF)?;
    let before = pages.amount();
    pages.resize(capacity / PAGE);
    let limits = user_pages();
    let exceeded = [limits.soft, limits.hard].iter().any(|&most| UserPages::is_exceeded(most, pages.total()));
    let refusal = if grows && exceeded && is_limited(credentials) {
        Some(Errno::EPERM)
    } else {
        (used > capacity).then_some(Errno::EBUSY)
    };
    if let Some(error) = refusal {
        pages.resize(before);
        return Err(error);
    }
    state.capacity = capacity as usize;
    drop(state);
    pipe.writable.wake_all();
    Ok(capacity as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OpenFlags, pipe::pipe};
    use base::Uid;

    fn user(number: u32) -> Arc<Credentials> {
        let uid = Uid::new(number);
        Arc::new(Credentials { uid, effective: Capabilities::empty(), ..Credentials::root() })
    }

    #[test]
    fn the_unprivileged_make_pipes_as_large_as_they_may() {
        let who = user(7001);
        let [reader, writer] = pipe(OpenFlags::NONBLOCK, &who).unwrap();
        assert_eq!(capacity(&reader), Ok(65_536));
        assert_eq!(set_capacity(&reader, 65_537, &who), Ok(131_072));
        assert_eq!(set_capacity(&writer, (1 << 20) + 1, &who), Err(Errno::EPERM));
        assert_eq!(set_capacity(&writer, 1 << 21, &Credentials::root()), Ok(1 << 21));
        // It may stay as large as it is, and shrink.
        assert_eq!(set_capacity(&writer, 1 << 21, &who), Ok(1 << 21));
        writer.write(&[0; 5000]).unwrap();
        assert_eq!(set_capacity(&writer, 0, &who), Err(Errno::EBUSY));
        assert_eq!(set_capacity(&writer, (1 << 31) + 1, &who), Err(Errno::EINVAL));
        assert_eq!(USERS.of(who.uid).load(Relaxed), (1 << 21) / PAGE);
        drop((reader, writer));
        assert_eq!(USERS.of(who.uid).load(Relaxed), 0);
    }

    #[test]
    fn who_has_many_pages_gets_small_pipes() {
        let who = user(7002);
        let held = Share::new(&USERS.of(who.uid), user_pages().soft);
        let [reader, _writer] = pipe(OpenFlags::NONBLOCK, &who).unwrap();
        assert_eq!(capacity(&reader), Ok(8192));
        assert_eq!(set_capacity(&reader, 16_384, &who), Err(Errno::EPERM));
        assert_eq!(set_capacity(&reader, 4096, &who), Ok(4096));
        assert_eq!(held.total(), user_pages().soft + 1);
        let [another, _writer] = pipe(OpenFlags::NONBLOCK, &Arc::new(Credentials::root())).unwrap();
        assert_eq!(capacity(&another), Ok(65_536));
    }
}
