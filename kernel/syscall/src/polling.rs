//! Waiting for many files at once: `poll`, `select`, epoll, and the files that turn time into readiness.

use crate::{
    abi::{EpollEvent as AbiEpollEvent, IntervalSpec, PollDescriptor, Timespec, Timeval},
    arguments::UserPtr,
    call::Call,
    clock::{self, nanoseconds},
};
use base::Errno;
use vfs::{
    Clock, EpollChange, EpollEvent, FileEvents, Follow, OpenFlags, PollEvents, PollRequest, Start, TimerKind,
    TimerSetting,
};

/// The most descriptors that `select` can name here: what RLIMIT_NOFILE can ever be set to by default.
const SELECT_MOST: i32 = 1 << 20;

/// The moment, in boot time, at which a wait of `timeout` ends. `None` is never.
fn deadline(timeout: Option<u64>) -> Option<u64> {
    timeout.map(|timeout| machine::time::now().saturating_add(timeout))
}

fn milliseconds(timeout: i32) -> Option<u64> {
    u64::try_from(timeout).ok().map(|timeout| timeout * 1_000_000)
}

/// Calls `then` with room for so many values: on the stack for a few, as most calls have. `ENOMEM`.
fn with_room<T: Copy>(
    count: usize,
    empty: T,
    then: impl FnOnce(&mut [T]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    const FEW: usize = 16;
    if count <= FEW {
        return then(&mut [empty; FEW][..count]);
    }
    let mut many = memory::heap::try_vec(count)?;
    many.resize(count, empty);
    then(&mut many)
}

/// A request for nothing.
const NOTHING: PollRequest = PollRequest { descriptor: -1, events: PollEvents::empty(), found: PollEvents::empty() };

fn poll_until(
    call: &Call<'_>,
    descriptors: UserPtr<PollDescriptor>,
    count: usize,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    if count as u64 > call.descriptor_limit() {
        return Err(Errno::EINVAL);
    }
    with_room(count, NOTHING, |requests| {
        let mut places = requests.iter_mut();
        descriptors.read_each(count, |_, asked| {
            let Some(request) = places.next() else { return };
            request.descriptor = asked.descriptor;
            // Unknown ones too: they are written back.
            request.events = PollEvents::from_bits_retain(u32::from(asked.events as u16));
        })?;
        let ready = vfs::poll(&*call.files()?, requests, deadline)?;
        descriptors.write_each(count, |at| PollDescriptor {
            descriptor: requests[at].descriptor,
            events: requests[at].events.bits() as i16,
            ready: requests[at].found.bits() as i16,
        })?;
        Ok(ready)
    })
}

/// `poll(2)`.
pub fn poll(call: &Call<'_>, descriptors: UserPtr<PollDescriptor>, count: u32, timeout: i32) -> Result<usize, Errno> {
    poll_until(call, descriptors, count as usize, deadline(milliseconds(timeout)))
}

/// `ppoll(2)`: with a signal mask for the time of the wait; the time left is written back.
pub fn ppoll(
    call: &Call<'_>,
    descriptors: UserPtr<PollDescriptor>,
    count: u32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize, Errno> {
    let wait = timeout.read_optional()?.map(|time| nanoseconds(&time)).transpose()?;
    let end = deadline(wait);
    let result = call.with_mask(mask, mask_size, || poll_until(call, descriptors, count as usize, end))?;
    tell_rest(timeout, end)?;
    result
}

/// Writes back how long a wait would still have lasted.
fn tell_rest(timeout: UserPtr<Timespec>, end: Option<u64>) -> Result<(), Errno> {
    match end {
        Some(end) => timeout.write_optional(&clock::timespec(end.saturating_sub(machine::time::now()))),
        None => Ok(()),
    }
}

/// The three sets of a `select`, as bit arrays in a row.
struct SelectSets<'a> {
    addresses: [UserPtr<u64>; 3],
    words: usize,
    bits: &'a mut [u64],
}

impl<'a> SelectSets<'a> {
    /// What makes a descriptor a member of each set in the answer, and what is asked for.
    const EVENTS: [(PollEvents, PollEvents); 3] = [
        (
            PollEvents::READABLE.union(PollEvents::READ_BAND).union(PollEvents::HANG_UP).union(PollEvents::ERROR),
            PollEvents::READABLE,
        ),
        (PollEvents::WRITABLE.union(PollEvents::WRITE_BAND).union(PollEvents::ERROR), PollEvents::WRITABLE),
        (PollEvents::PRIORITY, PollEvents::PRIORITY),
    ];

    /// Fetches the sets of descriptors below `count` into `bits`, which are 0 and as many words as three sets take.
    fn fetch(count: usize, addresses: [UserPtr<u64>; 3], bits: &'a mut [u64]) -> Result<Self, Errno> {
        let words = bits.len() / 3;
        let last = if count.is_multiple_of(64) { u64::MAX } else { (1 << (count % 64)) - 1 };
        for (set, address) in addresses.into_iter().enumerate().filter(|(_, address)| !address.is_null()) {
            let set = &mut bits[set * words..][..words];
            address.read_each(words, |at, word| set[at] = if at + 1 == words { word & last } else { word })?;
        }
        Ok(Self { addresses, words, bits })
    }

    /// The sets' words for the same descriptors.
    fn row(&self, word: usize) -> [u64; 3] {
        [0, 1, 2].map(|set| self.bits[set * self.words + word])
    }

    /// How many descriptors are in any set.
    fn members(&self) -> usize {
        (0..self.words).map(|word| self.row(word).into_iter().fold(0, |all, one| all | one).count_ones() as usize).sum()
    }

    /// Fills in what is asked for; there is one request for each member.
    fn ask(&self, requests: &mut [PollRequest]) {
        let mut requests = requests.iter_mut();
        let [readable, writable, exceptional] = Self::EVENTS.map(|(_, asked)| asked);
        for word in 0..self.words {
            let row = self.row(word);
            let mut any = row[0] | row[1] | row[2];
            while any != 0 {
                let bit = any & any.wrapping_neg();
                any &= !bit;
                let Some(request) = requests.next() else { return };
                request.descriptor = word as i32 * 64 + bit.trailing_zeros() as i32;
                let asked = |set: u64, events| if set & bit != 0 { events } else { PollEvents::empty() };
                request.events = asked(row[0], readable) | asked(row[1], writable) | asked(row[2], exceptional);
            }
        }
    }

    /// Makes the sets the answer and counts their members. `EBADF` a descriptor that is not open.
    fn answer(&mut self, requests: &[PollRequest]) -> Result<usize, Errno> {
        if requests.iter().any(|request| request.found.contains(PollEvents::INVALID)) {
            return Err(Errno::EBADF);
        }
        let mut count = 0;
        for ((address, bits), (hit, _)) in
            self.addresses.iter().zip(self.bits.chunks_mut(self.words.max(1))).zip(Self::EVENTS)
        {
            if address.is_null() {
                continue;
            }
            for request in requests {
                let (word, bit) = (request.descriptor as usize / 64, 1 << (request.descriptor % 64));
                let Some(word) = bits.get_mut(word).filter(|word| **word & bit != 0) else { continue };
                if request.found.intersects(hit) {
                    count += 1;
                } else {
                    *word &= !bit;
                }
            }
        }
        Ok(count)
    }

    /// Makes the sets the answer where nothing was found.
    fn clear(&mut self) -> usize {
        self.bits.fill(0);
        0
    }

    fn tell(&self) -> Result<(), Errno> {
        for (set, address) in self.addresses.into_iter().enumerate().filter(|(_, address)| !address.is_null()) {
            address.write_each(self.words, |word| self.bits[set * self.words + word])?;
        }
        Ok(())
    }
}

fn select_until(call: &Call<'_>, count: i32, sets: [UserPtr<u64>; 3], deadline: Option<u64>) -> Result<usize, Errno> {
    if !(0..=SELECT_MOST).contains(&count) {
        return Err(Errno::EINVAL);
    }
    let count = count as usize;
    with_room(3 * count.div_ceil(64), 0, |bits| {
        let mut sets = SelectSets::fetch(count, sets, bits)?;
        with_room(sets.members(), NOTHING, |requests| {
            sets.ask(requests);
            let found = vfs::poll(&*call.files()?, requests, deadline)?;
            let ready = if found > 0 { sets.answer(requests)? } else { sets.clear() };
            sets.tell()?;
            Ok(ready)
        })
    })
}

/// `select(2)`; the time left is written back.
pub fn select(
    call: &Call<'_>,
    count: i32,
    readable: UserPtr<u64>,
    writable: UserPtr<u64>,
    exceptional: UserPtr<u64>,
    timeout: UserPtr<Timeval>,
) -> Result<usize, Errno> {
    let wait = timeout.read_optional()?.map(|time| clock::nanoseconds_of_timeval(&time)).transpose()?;
    let end = deadline(wait);
    let result = select_until(call, count, [readable, writable, exceptional], end);
    if let Some(end) = end {
        timeout.write_optional(&clock::timeval(end.saturating_sub(machine::time::now())))?;
    }
    result
}

/// `pselect6(2)`: the mask comes as a pair of its address and size.
pub fn pselect6(
    call: &Call<'_>,
    count: i32,
    readable: UserPtr<u64>,
    writable: UserPtr<u64>,
    exceptional: UserPtr<u64>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<[u64; 2]>,
) -> Result<usize, Errno> {
    let wait = timeout.read_optional()?.map(|time| nanoseconds(&time)).transpose()?;
    let end = deadline(wait);
    let [address, size] = mask.read_optional()?.unwrap_or_default();
    let sets = [readable, writable, exceptional];
    let result = call.with_mask(UserPtr::at(address), size as usize, || select_until(call, count, sets, end))?;
    tell_rest(timeout, end)?;
    result
}

/// `inotify_init1(2)`. `EINVAL` unknown flags.
pub fn inotify_init1(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !(OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK).contains(flags) {
        return Err(Errno::EINVAL);
    }
    call.insert(vfs::inotify(flags, &call.task.credentials())?, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `inotify_init(2)`.
pub fn inotify_init(call: &Call<'_>) -> Result<usize, Errno> {
    inotify_init1(call, 0)
}

/// `inotify_add_watch(2)`. `EINVAL` no event at all, or flags that contradict each other.
pub fn inotify_add_watch(call: &Call<'_>, inotify: i32, path: UserPtr<u8>, mask: u32) -> Result<usize, Errno> {
    let mask = FileEvents::from_bits_truncate(mask);
    if mask.is_empty() || mask.contains(FileEvents::MASK_ADD | FileEvents::MASK_CREATE) {
        return Err(Errno::EINVAL);
    }
    let file = call.file(inotify)?;
    let path = call.path(path)?;
    let follow = if mask.contains(FileEvents::NO_FOLLOW) { Follow::No } else { Follow::Yes };
    let location = call.with_caller(|caller| caller.resolve(Start::WorkingDirectory, &path, follow))?;
    Ok(vfs::inotify_add_watch(&file, &location, mask, &call.task.credentials())? as usize)
}

/// `inotify_rm_watch(2)`.
pub fn inotify_rm_watch(call: &Call<'_>, inotify: i32, watch: i32) -> Result<usize, Errno> {
    vfs::inotify_remove_watch(&*call.file(inotify)?, watch)?;
    Ok(0)
}

/// `epoll_create1(2)`.
pub fn epoll_create1(call: &Call<'_>, flags: u32) -> Result<usize, Errno> {
    let flags = OpenFlags::from_bits_retain(flags);
    if !OpenFlags::CLOSE_ON_EXEC.contains(flags) {
        return Err(Errno::EINVAL);
    }
    call.insert(vfs::epoll(&call.task.credentials())?, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

/// `epoll_create(2)`. `EINVAL` a size that is not positive.
pub fn epoll_create(call: &Call<'_>, size: i32) -> Result<usize, Errno> {
    if size <= 0 {
        return Err(Errno::EINVAL);
    }
    epoll_create1(call, 0)
}

/// `epoll_ctl(2)`.
pub fn epoll_ctl(
    call: &Call<'_>,
    epoll: i32,
    operation: u32,
    descriptor: i32,
    event: UserPtr<AbiEpollEvent>,
) -> Result<usize, Errno> {
    const ADD: u32 = 1;
    const REMOVE: u32 = 2;
    const MODIFY: u32 = 3;
    let event = match operation {
        REMOVE => EpollEvent::default(),
        _ => event.read().map(|event| EpollEvent { events: event.events, data: event.data })?,
    };
    let (file, target) = (call.file(epoll)?, call.file(descriptor)?);
    let change = match operation {
        ADD => EpollChange::Add(event),
        REMOVE => EpollChange::Remove,
        MODIFY => EpollChange::Modify(event),
        _ => return Err(Errno::EINVAL),
    };
    vfs::epoll_control(&file, descriptor, &target, change)?;
    Ok(0)
}

fn epoll_wait_until(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    /// More than this is never told at once.
    const AT_ONCE: usize = 256;
    if most <= 0 {
        return Err(Errno::EINVAL);
    }
    let file = call.file(epoll)?;
    let mut events = memory::heap::try_vec((most as usize).min(AT_ONCE))?;
    events.resize((most as usize).min(AT_ONCE), EpollEvent::default());
    let count = vfs::epoll_wait(&file, &mut events, deadline)?;
    for (index, event) in events[..count].iter().enumerate() {
        out.item(index).write(&AbiEpollEvent { events: event.events, data: event.data })?;
    }
    Ok(count)
}

/// `epoll_wait(2)`.
pub fn epoll_wait(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    timeout: i32,
) -> Result<usize, Errno> {
    epoll_wait_until(call, epoll, out, most, deadline(milliseconds(timeout)))
}

/// `epoll_pwait(2)`.
pub fn epoll_pwait(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    timeout: i32,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize, Errno> {
    let end = deadline(milliseconds(timeout));
    call.with_mask(mask, mask_size, || epoll_wait_until(call, epoll, out, most, end))?
}

/// `epoll_pwait2(2)`.
pub fn epoll_pwait2(
    call: &Call<'_>,
    epoll: i32,
    out: UserPtr<AbiEpollEvent>,
    most: i32,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<u64>,
    mask_size: usize,
) -> Result<usize, Errno> {
    let wait = timeout.read_optional()?.map(|time| nanoseconds(&time)).transpose()?;
    let end = deadline(wait);
    call.with_mask(mask, mask_size, || epoll_wait_until(call, epoll, out, most, end))?
}

/// `timerfd_create(2)`. `EINVAL` an unknown clock or flag.
pub fn timerfd_create(call: &Call<'_>, clock: i32, flags: u32) -> Result<usize, Errno> {
    let allowed = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits(flags).filter(|flags| allowed.contains(*flags)).ok_or(Errno::EINVAL)?;
    let clock = match clock {
        clock::REALTIME => Clock::Realtime,
        clock::MONOTONIC | clock::BOOTTIME => Clock::Monotonic,
        _ => return Err(Errno::EINVAL),
    };
    let file = vfs::timerfd(clock, flags - OpenFlags::CLOSE_ON_EXEC, &call.task.credentials())?;
    call.insert(file, flags.contains(OpenFlags::CLOSE_ON_EXEC))
}

fn interval_spec(setting: TimerSetting) -> IntervalSpec {
    IntervalSpec { interval: clock::timespec(setting.interval), value: clock::timespec(setting.value) }
}

/// `timerfd_settime(2)`.
pub fn timerfd_settime(
    call: &Call<'_>,
    descriptor: i32,
    flags: u32,
    new: UserPtr<IntervalSpec>,
    old: UserPtr<IntervalSpec>,
) -> Result<usize, Errno> {
    const ABSOLUTE: u32 = 1;
    const CANCEL_ON_SET: u32 = 2;
    if flags & !(ABSOLUTE | CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let new = new.read()?;
    let setting = TimerSetting { interval: nanoseconds(&new.interval)?, value: nanoseconds(&new.value)? };
    let file = call.file(descriptor)?;
    let kind = match flags {
        ABSOLUTE => TimerKind::Absolute,
        flags if flags & ABSOLUTE != 0 => TimerKind::Canceled,
        _ => TimerKind::Relative,
    };
    let before = vfs::timerfd_set(&file, setting, kind)?;
    old.write_optional(&interval_spec(before))?;
    Ok(0)
}

/// `timerfd_gettime(2)`.
pub fn timerfd_gettime(call: &Call<'_>, descriptor: i32, out: UserPtr<IntervalSpec>) -> Result<usize, Errno> {
    out.write(&interval_spec(vfs::timerfd_get(&*call.file(descriptor)?)?))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    type Asked = Vec<(i32, PollEvents)>;

    /// Makes sets of descriptors below 128 the answer when `found` is what the files say; gives what was asked.
    fn select(
        bits: &mut [u64; 6],
        given: [bool; 3],
        found: impl Fn(i32) -> PollEvents,
    ) -> (Asked, Result<usize, Errno>) {
        let addresses = given.map(|given| UserPtr::at(u64::from(given)));
        let mut sets = SelectSets { addresses, words: 2, bits };
        let mut requests = std::vec![NOTHING; sets.members()];
        sets.ask(&mut requests);
        requests.iter_mut().for_each(|request| request.found = found(request.descriptor));
        let count = sets.answer(&requests);
        (requests.iter().map(|request| (request.descriptor, request.events)).collect(), count)
    }

    #[test]
    fn a_descriptor_in_several_sets_is_asked_for_once_and_told_in_each() {
        let mut sets = [1 << 3 | 1 << 5, 1, 1 << 3, 0, 0, 1 << 63];
        let (asked, count) = select(&mut sets, [true; 3], |descriptor| match descriptor {
            3 => PollEvents::READABLE | PollEvents::WRITABLE,
            64 => PollEvents::HANG_UP,
            127 => PollEvents::READABLE,
            _ => PollEvents::empty(),
        });
        let both = PollEvents::READABLE | PollEvents::WRITABLE;
        let expected = [(3, both), (5, PollEvents::READABLE), (64, PollEvents::READABLE), (127, PollEvents::PRIORITY)];
        assert_eq!(asked, expected);
        assert_eq!((count, sets), (Ok(3), [1 << 3, 1, 1 << 3, 0, 0, 0]));
    }

    #[test]
    fn a_descriptor_that_is_not_open_is_an_error_and_sets_not_given_stay_empty() {
        let mut one = [1 << 7, 0, 0, 0, 0, 0];
        let given = [true, false, false];
        let open = select(&mut one, given, |_| PollEvents::ALWAYS | PollEvents::ERROR);
        assert_eq!(open, (std::vec![(7, PollEvents::READABLE)], Ok(1)));
        assert_eq!(one, [1 << 7, 0, 0, 0, 0, 0]);
        assert_eq!(select(&mut one, given, |_| PollEvents::INVALID).1, Err(Errno::EBADF));
        let mut none = [0; 6];
        assert_eq!(select(&mut none, [true; 3], |_| PollEvents::ALWAYS), (Vec::new(), Ok(0)));
        assert_eq!(none, [0; 6]);
    }
}
