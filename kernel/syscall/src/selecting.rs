//! `poll` and `select`: waiting for many files at once.

use crate::{
    abi::{Timespec, Timeval},
    arguments::UserPtr,
    call::Call,
    clock::{self, nanoseconds},
};
use base::Errno;
use machine::user_memory;
use vfs::{PollEvents, PollRequests};

/// The most descriptors that `select` can name here: what RLIMIT_NOFILE can ever be set to by default.
const SELECT_MOST: i32 = 1 << 20;

/// The moment, in boot time, at which a wait of `timeout` ends: 0 for one that does not wait. `None` is never.
pub(crate) fn deadline(timeout: Option<u64>) -> Option<u64> {
    timeout.map(|timeout| if timeout == 0 { 0 } else { machine::time::now().saturating_add(timeout) })
}

/// A timeout of `poll` in ns; a negative one is none.
pub(crate) fn milliseconds(timeout: i32) -> Option<u64> {
    u64::try_from(timeout).ok().map(|timeout| timeout * 1_000_000)
}

/// How long a wait until `end` would still last.
fn rest(end: u64) -> u64 {
    if end == 0 { 0 } else { end.saturating_sub(machine::time::now()) }
}

/// Calls `then` with room for so many words: on the stack for a few, as most calls have. `ENOMEM`.
#[inline]
fn with_room(count: usize, then: impl Fn(&mut [u64]) -> Result<usize, Errno>) -> Result<usize, Errno> {
    const FEW: usize = 16;
    if count <= FEW {
        return then(&mut [0; FEW][..count]);
    }
    let mut many = memory::heap::try_vec(count)?;
    many.resize(count, 0);
    then(&mut many)
}

/// Each word a `struct pollfd`: from the lowest bits on the descriptor, what is asked, what was found.
struct Descriptors<'a>(&'a mut [u64]);

impl PollRequests for Descriptors<'_> {
    #[inline]
    fn answer(&mut self, mut look: impl FnMut(i32, PollEvents) -> PollEvents) -> usize {
        let mut ready = 0;
        for word in &mut *self.0 {
            let (descriptor, asked) = (*word as i32, (*word >> 32) as u16);
            let found = if descriptor < 0 {
                PollEvents::empty()
            } else {
                look(descriptor, PollEvents::from_bits_retain(asked.into()))
            };
            *word = *word & 0xffff_ffff_ffff | u64::from(found.bits() as u16) << 48;
            ready += usize::from(!found.is_empty());
        }
        ready
    }
}

fn poll_until(call: &Call<'_>, descriptors: UserPtr<u64>, count: usize, deadline: Option<u64>) -> Result<usize, Errno> {
    if count as u64 > call.descriptor_limit() {
        return Err(Errno::EINVAL);
    }
    with_room(count, |words| {
        user_memory::read_words(descriptors.address(), words)?;
        let ready = vfs::poll(&*call.files()?, &mut Descriptors(words), deadline)?;
        user_memory::write_words(descriptors.address(), words)?;
        Ok(ready)
    })
}

/// `poll(2)`.
pub fn poll(call: &Call<'_>, descriptors: UserPtr<u64>, count: u32, timeout: i32) -> Result<usize, Errno> {
    poll_until(call, descriptors, count as usize, deadline(milliseconds(timeout)))
}

/// `ppoll(2)`: with a signal mask for the time of the wait; the time left is written back.
pub fn ppoll(
    call: &Call<'_>,
    descriptors: UserPtr<u64>,
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
        Some(end) => timeout.write_optional(&clock::timespec(rest(end))),
        None => Ok(()),
    }
}

/// What makes a descriptor a member of each set in the answer of `select`.
const MEMBERS: [PollEvents; 3] = [
    PollEvents::READABLE.union(PollEvents::READ_BAND).union(PollEvents::HANG_UP).union(PollEvents::ERROR),
    PollEvents::WRITABLE.union(PollEvents::WRITE_BAND).union(PollEvents::ERROR),
    PollEvents::PRIORITY,
];
/// All of it: what is of no use to the sets that a descriptor is in is left out afterwards.
const ANY: PollEvents = MEMBERS[0].union(MEMBERS[1]).union(MEMBERS[2]);

/// The three sets of a `select`, as bit arrays.
struct SelectSets<'a> {
    /// What is asked.
    asked: [&'a [u64]; 3],
    /// What was found, in as many words.
    found: [&'a mut [u64]; 3],
    /// A descriptor is not open.
    is_invalid: bool,
}

impl PollRequests for SelectSets<'_> {
    #[inline]
    fn answer(&mut self, mut look: impl FnMut(i32, PollEvents) -> PollEvents) -> usize {
        let (mut count, mut first) = (0, 0);
        let [read, write, except] = self.asked;
        let [can_read, can_write, exceptions] = &mut self.found;
        let rows = read.iter().zip(write).zip(except);
        let answers = can_read.iter_mut().zip(&mut **can_write).zip(&mut **exceptions);
        for (((read, write), except), ((can_read, can_write), exceptions)) in rows.zip(answers) {
            let row = [*read, *write, *except];
            let mut hits = [0; 3];
            let mut any = row[0] | row[1] | row[2];
            while any != 0 {
                let bit = any & any.wrapping_neg();
                any &= !bit;
                let found = look(first + bit.trailing_zeros() as i32, ANY);
                if found.is_empty() {
                    continue;
                }
                self.is_invalid |= found.contains(PollEvents::INVALID);
                for ((set, hits), members) in row.iter().zip(&mut hits).zip(MEMBERS) {
                    if set & bit != 0 && found.intersects(members) {
                        *hits |= bit;
                        count += 1;
                    }
                }
            }
            [*can_read, *can_write, *exceptions] = hits;
            first += 64;
        }
        // What is not open ends the wait.
        count + usize::from(self.is_invalid)
    }
}

/// Parts of a row of three sets.
fn each_set(sets: &mut [u64]) -> [&mut [u64]; 3] {
    let (first, rest) = sets.split_at_mut(sets.len() / 3);
    let (second, third) = rest.split_at_mut(rest.len() / 2);
    [first, second, third]
}

fn select_until(
    call: &Call<'_>,
    count: i32,
    addresses: [UserPtr<u64>; 3],
    deadline: Option<u64>,
) -> Result<usize, Errno> {
    if !(0..=SELECT_MOST).contains(&count) {
        return Err(Errno::EINVAL);
    }
    let count = count as usize;
    with_room(6 * count.div_ceil(64), |room| {
        let (asked, found) = room.split_at_mut(room.len() / 2);
        let (mut asked, found) = (each_set(asked), each_set(found));
        for (set, address) in asked.iter_mut().zip(addresses).filter(|(_, address)| !address.is_null()) {
            user_memory::read_words(address.address(), set)?;
            if let Some(last) = set.last_mut().filter(|_| !count.is_multiple_of(64)) {
                *last &= (1 << (count % 64)) - 1;
            }
        }
        let mut sets = SelectSets { asked: asked.map(|set| &*set), found, is_invalid: false };
        let ready = vfs::poll(&*call.files()?, &mut sets, deadline)?;
        if sets.is_invalid {
            return Err(Errno::EBADF);
        }
        for (set, address) in sets.found.iter().zip(addresses).filter(|(_, address)| !address.is_null()) {
            user_memory::write_words(address.address(), set)?;
        }
        Ok(ready)
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
        timeout.write_optional(&clock::timeval(rest(end)))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Which descriptors below 128 are looked at for these sets, how many are told when `found` is what the files say
    /// (`None` if one is not open), and the sets then.
    fn select(asked: [u64; 6], found: impl Fn(i32) -> PollEvents) -> (Vec<i32>, Option<usize>, [u64; 6]) {
        let (mut questions, mut asked, mut answer) = (Vec::new(), asked, [0; 6]);
        let asked = each_set(&mut asked).map(|set| &*set);
        let mut sets = SelectSets { asked, found: each_set(&mut answer), is_invalid: false };
        let count = sets.answer(|descriptor, events| {
            questions.push(descriptor);
            found(descriptor) & (events | PollEvents::INVALID)
        });
        let is_invalid = sets.is_invalid;
        (questions, (!is_invalid).then_some(count), answer)
    }

    #[test]
    fn a_descriptor_in_several_sets_is_asked_for_once_and_told_in_each() {
        let sets = [1 << 3 | 1 << 5, 1, 1 << 3, 0, 0, 1 << 63];
        let (asked, count, answer) = select(sets, |descriptor| match descriptor {
            3 => PollEvents::READABLE | PollEvents::WRITABLE,
            64 => PollEvents::HANG_UP,
            127 => PollEvents::READABLE,
            _ => PollEvents::empty(),
        });
        assert_eq!(asked, [3, 5, 64, 127]);
        assert_eq!((count, answer), (Some(3), [1 << 3, 1, 1 << 3, 0, 0, 0]));
    }

    #[test]
    fn what_is_not_asked_for_is_not_told_and_a_descriptor_that_is_not_open_ends_the_wait() {
        let one = [1 << 7, 0, 0, 0, 0, 0];
        let open = select(one, |_| PollEvents::ALWAYS | PollEvents::ERROR);
        assert_eq!(open, (std::vec![7], Some(1), one));
        assert_eq!(select(one, |_| PollEvents::INVALID).1, None);
        let written = [0, 0, 1 << 7, 0, 0, 0];
        assert_eq!(select(written, |_| PollEvents::HANG_UP).1, Some(0), "a hang-up is nothing to who would write");
        assert_eq!(select([0; 6], |_| PollEvents::ALWAYS), (Vec::new(), Some(0), [0; 6]));
    }

    #[test]
    fn words_are_copied_up_to_where_memory_ends() {
        const PAGE: u64 = 4096;
        memory::init();
        let space = memory::AddressSpace::new(8 << 20).unwrap();
        let request = memory::MapRequest { populate: true, ..memory::MapRequest::anonymous(2 * PAGE) };
        let end = space.map(request, &memory::Limits::NONE).unwrap() + 2 * PAGE;
        space.activate();
        let words: Vec<u64> = (0..600).map(|at| at * 3).collect();
        let address = end - 600 * 8;
        assert_eq!(user_memory::write_words(address, &words), Ok(()));
        let mut back = std::vec![0; 600];
        assert_eq!(user_memory::read_words(address, &mut back), Ok(()));
        assert_eq!(back, words);
        assert_eq!(user_memory::read_array(end - 16), Ok([598 * 3, 599 * 3]));
        assert_eq!(user_memory::read_array::<3>(end - 16), Err(Errno::EFAULT));
        assert_eq!(user_memory::read_words(address + 8, &mut back), Err(Errno::EFAULT));
        assert_eq!(user_memory::write_words(address + 8, &words), Err(Errno::EFAULT));
        assert_eq!(user_memory::read_words(u64::MAX, &mut []), Ok(()));
        machine::paging::deactivate();
    }

    #[test]
    fn a_pollfd_keeps_what_it_asks_and_gets_what_was_found() {
        let asked = |descriptor: i32, events: u64| u64::from(descriptor as u32) | events << 32;
        let mut words = [asked(3, 1), asked(-1, 1) | 7 << 48, asked(4, 0xffff)];
        let mut questions = Vec::new();
        let ready = Descriptors(&mut words).answer(|descriptor, events| {
            questions.push((descriptor, events.bits()));
            if descriptor == 3 { PollEvents::IN } else { PollEvents::empty() }
        });
        assert_eq!((ready, questions), (1, std::vec![(3, 1), (4, 0xffff)]));
        assert_eq!(words, [asked(3, 1) | 1 << 48, asked(-1, 1), asked(4, 0xffff)]);
    }
}
