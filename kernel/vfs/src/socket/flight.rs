//! Files on their way through sockets (`SCM_RIGHTS`): how many each user has sent that nobody received, and what becomes
//! of those that nobody can receive any more.
//!
//! A socket that lies in inboxes only, its own or those of others like it, can be reached by nobody. Such are found when
//! a socket is closed: a socket with no reference but those from inboxes is suspect; what lies in the inbox of one that
//! is not suspect can be reached, and so can all that lies in its inbox in turn; the others are emptied.
//!
//! Files are closed one inbox after the other: a socket that lies in another's inbox in another's could otherwise need
//! more stack than there is.

use super::{Core, Link, Socket, inbox::Inbox};
use crate::OpenFile;
use alloc::{
    sync::{Arc, Weak},
    vec::Vec,
};
use base::{Errno, Uid};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use machine::sync::{SpinLock, rank};

/// Held whenever files go into an inbox or come out, so that a search sees each of them somewhere.
pub(super) static FLIGHT: SpinLock<Flight> =
    SpinLock::new(rank::FLIGHT, Flight { sockets: Vec::new(), users: Vec::new() });

static CLOSING: SpinLock<Closing> = SpinLock::new(rank::CLOSING, Closing { first: None, busy: false, search: false });

/// All files in inboxes.
pub(super) struct Flight {
    sockets: Vec<Flying>,
    /// How many files each user has sent, of those who have.
    users: Vec<(Uid, usize)>,
}

/// A socket that lies in inboxes.
struct Flying {
    file: Weak<OpenFile>,
    core: Arc<Core>,
    /// How often.
    count: usize,
    /// During a search: how often in inboxes that can be reached, as far as is known; `None` it can be reached itself.
    reached: Option<usize>,
}

/// Where a socket stands among those in inboxes; kept in the socket, changed with [`FLIGHT`] locked.
pub(super) struct Seat(AtomicUsize);

impl Seat {
    const NONE: usize = usize::MAX;

    pub const fn none() -> Self {
        Self(AtomicUsize::new(Self::NONE))
    }

    fn get(&self) -> Option<usize> {
        Some(self.0.load(Relaxed)).filter(|&place| place != Self::NONE)
    }
}

/// How many files `user` has sent that nobody received.
pub fn in_flight(user: Uid) -> usize {
    let flight = FLIGHT.lock();
    flight.users.iter().find(|(known, _)| *known == user).map_or(0, |(_, count)| *count)
}

impl Flight {
    /// Notes files that `user` puts into an inbox. `ENOMEM`, then none.
    pub fn note(&mut self, files: &[Arc<OpenFile>], user: Uid) -> Result<(), Errno> {
        self.sockets.try_reserve(files.len()).map_err(|_| Errno::ENOMEM)?;
        self.users.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        match self.users.iter_mut().find(|(known, _)| *known == user) {
            Some((_, count)) => *count += files.len(),
            None => self.users.push((user, files.len())),
        }
        for file in files {
            let Some(socket) = file.operations::<Socket>() else { continue };
            if let Some(place) = socket.core.seat.get() {
                self.sockets[place].count += 1;
            } else {
                socket.core.seat.0.store(self.sockets.len(), Relaxed);
                let (file, core) = (Arc::downgrade(file), socket.core.clone());
                self.sockets.push(Flying { file, core, count: 1, reached: None });
            }
        }
        Ok(())
    }

    /// Forgets files that `user` has put into an inbox and that come out of it.
    pub fn forget(&mut self, files: &[Arc<OpenFile>], user: Uid) {
        if let Some(index) = self.users.iter().position(|(known, _)| *known == user) {
            self.users[index].1 -= files.len();
            if self.users[index].1 == 0 {
                self.users.swap_remove(index);
            }
        }
        let seats = files.iter().filter_map(|file| file.operations::<Socket>());
        for place in seats.filter_map(|socket| socket.core.seat.get()) {
            self.sockets[place].count -= 1;
            if self.sockets[place].count == 0 {
                let gone = self.sockets.swap_remove(place);
                gone.core.seat.0.store(Seat::NONE, Relaxed);
                if let Some(moved) = self.sockets.get(place) {
                    moved.core.seat.0.store(place, Relaxed);
                }
            }
        }
    }

    /// Empties the inboxes of sockets that nobody can reach. Without memory for the search none are found.
    fn collect(&mut self) {
        for socket in &mut self.sockets {
            let suspect = socket.file.strong_count() == socket.count;
            socket.reached = suspect.then_some(socket.count);
        }
        for place in 0..self.sockets.len() {
            if self.sockets[place].reached.is_some() {
                let core = self.sockets[place].core.clone();
                core.each_in_inboxes(|inner| {
                    if let Some(reached) = &mut self.sockets[inner].reached {
                        *reached -= 1;
                    }
                });
            }
        }
        let mut pending = Vec::new();
        if pending.try_reserve_exact(self.sockets.len()).is_err() {
            return;
        }
        pending.extend(
            (0..self.sockets.len()).filter(|&place| self.sockets[place].reached.is_some_and(|count| count > 0)),
        );
        for &place in &pending {
            self.sockets[place].reached = None;
        }
        while let Some(place) = pending.pop() {
            let core = self.sockets[place].core.clone();
            core.each_in_inboxes(|inner| {
                // Each is pushed once at most, so there is room.
                if self.sockets[inner].reached.take().is_some() {
                    pending.push(inner);
                }
            });
        }
        for socket in self.sockets.iter().filter(|socket| socket.reached.is_some()) {
            socket.core.each_inbox(|inbox| {
                inbox.deafen();
                close_later(inbox);
            });
        }
    }
}

impl Core {
    /// Its inbox, and those of the connections that wait for `accept`.
    fn each_inbox(&self, mut each: impl FnMut(&Arc<Inbox>)) {
        each(&self.inbox);
        if let Link::Listening { queue, .. } = &*self.link.lock() {
            for waiting in queue {
                each(&waiting.core.inbox);
            }
        }
    }

    /// Gives the places of the sockets in its inboxes.
    fn each_in_inboxes(&self, mut each: impl FnMut(usize)) {
        self.each_inbox(|inbox| {
            inbox.each_file(|file| {
                if let Some(place) = file.operations::<Socket>().and_then(|socket| socket.core.seat.get()) {
                    each(place);
                }
            });
        });
    }
}

/// Inboxes whose files are to be closed.
struct Closing {
    /// The first; each knows the next.
    first: Option<Arc<Inbox>>,
    /// Somebody closes them, one after the other.
    busy: bool,
    /// Then sockets are looked for that nobody can reach.
    search: bool,
}

/// Has the files in a deaf inbox closed by the next [`close`].
fn close_later(inbox: &Arc<Inbox>) {
    let mut closing = CLOSING.lock();
    if inbox.list(&mut closing.first) {
        closing.first = Some(inbox.clone());
    }
}

/// A socket was closed: closes the files in its inbox, if there are any, and in those of sockets that nobody can reach
/// now. If somebody is at it, he does this too.
pub(super) fn close(inbox: &Arc<Inbox>) {
    if FLIGHT.lock().users.is_empty() {
        return;
    }
    close_later(inbox);
    let mut closing = CLOSING.lock();
    closing.search = true;
    if core::mem::replace(&mut closing.busy, true) {
        return;
    }
    loop {
        if let Some(inbox) = closing.first.take() {
            closing.first = inbox.unlist();
            drop(closing);
            let packets = inbox.empty(&mut FLIGHT.lock());
            drop(packets);
        } else if core::mem::take(&mut closing.search) {
            drop(closing);
            FLIGHT.lock().collect();
        } else {
            closing.busy = false;
            return;
        }
        closing = CLOSING.lock();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Message, Peer, SocketType, pair, socket};
    use crate::{Caller, OpenFile, OpenFlags, testing};
    use alloc::sync::{Arc, Weak};
    use base::{Credentials, Errno, Pid, Uid};
    use proptest::prelude::*;
    use std::{collections::BTreeSet, thread, vec, vec::Vec};

    fn me() -> Peer {
        Peer { pid: Pid::new(7), credentials: Arc::new(Credentials::root()) }
    }

    fn ends() -> [Arc<OpenFile>; 2] {
        pair(SocketType::Stream, OpenFlags::NONBLOCK, &Arc::new(Credentials::root()), me()).unwrap()
    }

    fn of(file: &OpenFile) -> &super::Socket {
        file.operations().unwrap()
    }

    fn pass(caller: &Caller<'_>, over: &OpenFile, file: &Arc<OpenFile>) -> Result<usize, Errno> {
        of(over).send(caller, Message { bytes: b"x", files: vec![file.clone()], ..Message::default() }, true)
    }

    /// Closing any socket has the others looked at; another test may be at it.
    fn wait_until_gone(files: &[Weak<OpenFile>]) {
        while files.iter().any(|file| file.strong_count() > 0) {
            drop(ends());
            thread::yield_now();
        }
    }

    #[test]
    fn sockets_in_each_others_inboxes_are_closed_when_nobody_else_has_them() {
        testing::with_caller(|caller| {
            let ([one, other], outside) = (ends(), ends());
            let files = [Arc::downgrade(&one), Arc::downgrade(&other), Arc::downgrade(&outside[0])];
            for (over, file) in [(&one, &one), (&other, &one), (&one, &other), (&other, &outside[0])] {
                pass(&caller, over, file).unwrap();
            }
            drop((one, other));
            wait_until_gone(&files[..2]);
            assert_eq!(files[2].strong_count(), 1, "what somebody has stays");
        });
    }

    #[test]
    fn what_waits_in_connections_that_nobody_accepted_is_looked_at_too() {
        testing::with_caller(|caller| {
            let new = || socket(SocketType::Stream, OpenFlags::NONBLOCK, caller.credentials).unwrap();
            let (listener, client) = (new(), new());
            let address = Address::Abstract(b"flight".to_vec());
            of(&listener).bind(&caller, &address).unwrap();
            of(&listener).listen(1, me()).unwrap();
            of(&client).connect(&caller, &address, true, me()).unwrap();
            pass(&caller, &client, &listener).unwrap();
            let accepting = Arc::downgrade(&listener);
            drop(ends());
            assert_eq!(accepting.strong_count(), 2, "who has it may accept the connection in which it waits");
            drop(listener);
            wait_until_gone(&[accepting]);
            assert_eq!(client.read(&mut [0]), Err(Errno::ECONNRESET));
        });
    }

    #[test]
    fn sockets_in_sockets_in_sockets_need_no_more_stack() {
        const DEPTH: usize = 20_000;
        let nest = || {
            testing::with_caller(|caller| {
                let mut inner = ends();
                let last = Arc::downgrade(&inner[0]);
                for _ in 0..DEPTH {
                    let outer = ends();
                    pass(&caller, &outer[0], &inner[0]).unwrap();
                    pass(&caller, &outer[0], &inner[1]).unwrap();
                    inner = outer;
                }
                drop(inner);
                wait_until_gone(&[last]);
            });
        };
        thread::Builder::new().stack_size(256 << 10).spawn(nest).unwrap().join().unwrap();
    }

    #[test]
    fn files_count_for_who_sent_them_until_they_are_received() {
        let credentials = Arc::new(Credentials { uid: Uid::new(4711), ..Credentials::root() });
        testing::with_caller(|caller| {
            let caller = Caller { credentials: &credentials, ..caller };
            let [one, other] = ends();
            for _ in 0..3 {
                pass(&caller, &one, &one).unwrap();
            }
            let count = || super::in_flight(credentials.uid);
            assert_eq!(count(), 3);
            let mut buffer = [0; 10];
            let received = of(&other).receive(&mut buffer, Default::default()).unwrap();
            assert_eq!((received.files.len(), count()), (1, 2));
            of(&other).put_back(b"x", received);
            assert_eq!(count() + super::in_flight(Uid::ROOT).min(1), 3, "it counts for who put it back");
            let refused = vec![1; 1 << 20];
            assert_eq!(one.write(&refused).map(|count| count > 0), Ok(true));
            assert_eq!(pass(&caller, &one, &one), Err(Errno::EAGAIN));
            assert_eq!(count(), 2);
            drop((one, other));
            while count() > 0 {
                drop(ends());
            }
        });
    }

    proptest! {
        #[test]
        fn all_that_can_be_reached_stays_and_nothing_else(
            sent in proptest::collection::vec((0..8_usize, 0..2_usize, 0..8_usize, 0..2_usize), 0..30),
            kept in proptest::collection::btree_set((0..8_usize, 0..2_usize), 0..4),
        ) {
            testing::with_caller(|caller| {
                let pairs: Vec<[Arc<OpenFile>; 2]> = (0..8).map(|_| ends()).collect();
                let weak: Vec<[Weak<OpenFile>; 2]> = pairs.iter().map(|pair| pair.each_ref().map(Arc::downgrade)).collect();
                for &(over, end, file, which) in &sent {
                    pass(&caller, &pairs[over][end], &pairs[file][which]).unwrap();
                }
                let held: Vec<Arc<OpenFile>> = kept.iter().map(|&(place, end)| pairs[place][end].clone()).collect();
                drop(pairs);
                // What was sent over one end lies in the inbox of the other, as long as that is open.
                let mut reached: BTreeSet<(usize, usize)> = kept.clone();
                let mut pending: Vec<_> = kept.iter().copied().collect();
                while let Some((place, end)) = pending.pop() {
                    for &(over, from, file, which) in &sent {
                        if (over, 1 - from) == (place, end) && reached.insert((file, which)) {
                            pending.push((file, which));
                        }
                    }
                }
                let all = (0..8).flat_map(|place| [(place, 0), (place, 1)]);
                let (stay, go): (Vec<_>, Vec<_>) = all.partition(|name| reached.contains(name));
                wait_until_gone(&go.iter().map(|&(place, end)| weak[place][end].clone()).collect::<Vec<_>>());
                for (place, end) in stay {
                    assert!(weak[place][end].strong_count() > 0, "{place}.{end} can be reached");
                }
                drop(held);
                wait_until_gone(&weak.concat());
            });
        }
    }
}
