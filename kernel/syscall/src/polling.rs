//! Waiting for many files at once: `poll`, `select`, epoll, and the files that turn time into readiness.

use crate::{
    abi::{EpollEvent as AbiEpollEvent, IntervalSpec, PollDescriptor, Timespec, Timeval},
    arguments::UserPtr,
    call::Call,
    clock::{self, nanoseconds},
};
use alloc::vec::Vec;
use base::Errno;
use vfs::{
    Clock, EpollChange, EpollEvent, FileEvents, Follow, OpenFlags, PollEvents, PollRequest, Start, TimerSetting,
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

fn poll_until(
    call: &Call<'_>,
    descriptors: UserPtr<PollDescriptor>,
    count: usize,
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    if count as u64 > call.descriptor_limit() {
        return Err(Errno::EINVAL);
    }
    let mut asked = descriptors.read_array(count)?;
    let mut requests: Vec<PollRequest> = memory::heap::try_vec(count)?;
    requests.extend(asked.iter().map(|one| PollRequest {
        descriptor: one.descriptor,
        events: PollEvents::from_bits_truncate(u32::from(one.events as u16)),
        found: PollEvents::empty(),
    }));
    let ready = vfs::poll(&*call.files()?, &mut requests, deadline)?;
    for (one, request) in asked.iter_mut().zip(&requests) {
        one.ready = request.found.bits() as i16;
    }
    descriptors.write_array(&asked)?;
    Ok(ready)
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

/// The three sets of a `select`, as bit arrays.
struct SelectSets {
    addresses: [UserPtr<u64>; 3],
    words: usize,
    sets: [Vec<u64>; 3],
}

impl SelectSets {
    /// What makes a descriptor a member of each set in the answer, and what is asked for.
    const EVENTS: [(PollEvents, PollEvents); 3] = [
        (
            PollEvents::READABLE.union(PollEvents::READ_BAND).union(PollEvents::HANG_UP).union(PollEvents::ERROR),
            PollEvents::READABLE,
        ),
        (PollEvents::WRITABLE.union(PollEvents::WRITE_BAND).union(PollEvents::ERROR), PollEvents::WRITABLE),
        (PollEvents::PRIORITY, PollEvents::PRIORITY),
    ];

    fn fetch(count: i32, addresses: [UserPtr<u64>; 3]) -> Result<Self, Errno> {
        if !(0..=SELECT_MOST).contains(&count) {
            return Err(Errno::EINVAL);
        }
        let words = (count as usize).div_ceil(64);
        let mut sets = [Vec::new(), Vec::new(), Vec::new()];
        for (set, address) in sets.iter_mut().zip(addresses) {
            *set = if address.is_null() { Vec::new() } else { address.read_array(words)? };
            if let Some(last) = set.last_mut()
                && count % 64 != 0
            {
                *last &= (1 << (count % 64)) - 1;
            }
        }
        Ok(Self { addresses, words, sets })
    }

    fn requests(&self) -> Result<Vec<PollRequest>, Errno> {
        let mut requests = Vec::new();
        for word in 0..self.words {
            let bits = |set: &Vec<u64>| set.get(word).copied().unwrap_or(0);
            let mut any = self.sets.iter().map(bits).fold(0, |all, one| all | one);
            while any != 0 {
                let bit = any.trailing_zeros();
                any &= any - 1;
                let mut events = PollEvents::empty();
                for (set, (_, asked)) in self.sets.iter().zip(Self::EVENTS) {
                    if bits(set) & (1 << bit) != 0 {
                        events |= asked;
                    }
                }
                requests.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                let descriptor = word as i32 * 64 + bit as i32;
                requests.push(PollRequest { descriptor, events, found: PollEvents::empty() });
            }
        }
        Ok(requests)
    }

    /// Makes the sets the answer and counts their members. `EBADF` a descriptor that is not open.
    fn answer(&mut self, requests: &[PollRequest]) -> Result<usize, Errno> {
        let asked = core::mem::take(&mut self.sets);
        let mut count = 0;
        for ((set, asked), (hit, _)) in self.sets.iter_mut().zip(&asked).zip(Self::EVENTS) {
            *set = memory::heap::try_vec(asked.len())?;
            set.resize(asked.len(), 0);
            for request in requests {
                if request.found.contains(PollEvents::INVALID) {
                    return Err(Errno::EBADF);
                }
                let (word, bit) = (request.descriptor as usize / 64, request.descriptor as usize % 64);
                let wanted = asked.get(word).is_some_and(|bits| bits & (1 << bit) != 0);
                if wanted && request.found.intersects(hit) {
                    set[word] |= 1 << bit;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    fn tell(&self) -> Result<(), Errno> {
        for (set, address) in self.sets.iter().zip(self.addresses) {
            if !address.is_null() {
                address.write_array(set)?;
            }
        }
        Ok(())
    }
}

fn select_until(call: &Call<'_>, count: i32, sets: [UserPtr<u64>; 3], deadline: Option<u64>) -> Result<usize, Errno> {
    let mut sets = SelectSets::fetch(count, sets)?;
    let mut requests = sets.requests()?;
    vfs::poll(&*call.files()?, &mut requests, deadline)?;
    let ready = sets.answer(&requests)?;
    sets.tell()?;
    Ok(ready)
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
    let before = vfs::timerfd_set(&file, setting, flags & ABSOLUTE != 0)?;
    old.write_optional(&interval_spec(before))?;
    Ok(0)
}

/// `timerfd_gettime(2)`.
pub fn timerfd_gettime(call: &Call<'_>, descriptor: i32, out: UserPtr<IntervalSpec>) -> Result<usize, Errno> {
    out.write(&interval_spec(vfs::timerfd_get(&*call.file(descriptor)?)?))?;
    Ok(0)
}
