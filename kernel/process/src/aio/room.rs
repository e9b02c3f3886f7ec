//! The arithmetic of a ring of events: where the next event goes, and how many requests may still be made.
//!
//! A request takes its place before it begins, so that its event always finds room. The place is free again once the event
//! was reaped, which a program may do without a call: it moves the ring's `head`. The kernel looks at that word when places
//! run short, and believes it only as far as it can have reaped what the kernel has put there. All else is counted here,
//! where no program writes.

use base::Errno;

/// Bytes of the ring's head, and of an event.
pub(super) const UNIT: u64 = 32;
/// Events of a page, or events and the head.
pub(super) const PER_PAGE: u32 = (4096 / UNIT) as u32;
/// The most bytes of all events.
const MOST_BYTES: u32 = 0x1000_0000;

/// The pages of a ring for so many requests on a machine with so many CPUs, as many as Linux takes.
///
/// Errors, in this order: `EINVAL` too many; `EAGAIN` more than `limit`, which is what all rings together may have.
pub(super) fn pages_for(requests: u32, cpus: u32, limit: u64) -> Result<u32, Errno> {
    let events = requests.max(cpus.saturating_mul(4)).wrapping_mul(2);
    if events > MOST_BYTES / UNIT as u32 {
        return Err(Errno::EINVAL);
    }
    if events == 0 || u64::from(requests) > limit {
        return Err(Errno::EAGAIN);
    }
    // Two more, and the head.
    Ok((events + 3).div_ceil(PER_PAGE))
}

/// How many events so many pages hold behind the head.
pub(super) fn places_in(pages: u32) -> u32 {
    pages * PER_PAGE - 1
}

/// The places of a ring.
#[derive(Clone, Debug)]
pub(super) struct Room {
    places: u32,
    /// Where the next event goes.
    tail: u32,
    /// Requests that may still be made. One place stays empty, so that a full ring does not look like an empty one.
    free: u32,
    /// Events in the ring that are not known to be reaped.
    waiting: u32,
}

impl Room {
    /// An empty ring of so many places, at least two.
    pub(super) fn new(places: u32) -> Self {
        Self { places, tail: 0, free: places - 1, waiting: 0 }
    }

    /// Takes a place for a request, if there is one. `head` is the program's, asked only when places have run short.
    pub(super) fn take(&mut self, head: impl FnOnce() -> u32) -> bool {
        if self.free == 0 && self.waiting > 0 {
            self.believe(head());
        }
        let taken = self.free > 0;
        self.free -= u32::from(taken);
        taken
    }

    /// Gives a place back that no event came into.
    pub(super) fn give_back(&mut self) {
        self.free += 1;
    }

    /// The place of the next event.
    pub(super) fn next(&self) -> u32 {
        self.tail
    }

    /// The next event is there, of a request that had taken its place. The new tail.
    pub(super) fn put(&mut self, head: u32) -> u32 {
        self.tail = (self.tail + 1) % self.places;
        self.waiting += 1;
        if self.waiting > 1 {
            self.believe(head);
        }
        self.tail
    }

    /// Frees the places of what was reaped by what `head` says.
    fn believe(&mut self, head: u32) {
        let head = head % self.places;
        let left = if head <= self.tail { self.tail - head } else { self.places - (head - self.tail) };
        let reaped = self.waiting.saturating_sub(left);
        self.waiting -= reaped;
        self.free += reaped;
    }
}

/// What a reader takes at once from a ring with such words in it: the first place and how many events, at most `most`, that
/// lie in a row and in one page; `None` if the ring is empty.
pub(super) fn run(head: u32, tail: u32, places: u32, most: u64) -> Option<(u32, u32)> {
    let (head, tail) = (head % places, tail % places);
    let in_row = (if head <= tail { tail } else { places }) - head;
    let in_page = PER_PAGE - (head + 1) % PER_PAGE;
    let count = u64::from(in_row.min(in_page)).min(most) as u32;
    (count > 0).then_some((head, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{vec, vec::Vec};

    #[test]
    fn rings_are_as_large_as_linux_makes_them() {
        assert_eq!(pages_for(1, 4, 65_536), Ok(1));
        assert_eq!(places_in(1), 127);
        // 62 requests are 124 events, two more and the head: the page is full.
        assert_eq!([62, 63].map(|requests| pages_for(requests, 1, 65_536)), [Ok(1), Ok(2)]);
        assert_eq!(pages_for(65_536, 1, 65_536), Ok(1025));
        assert_eq!(pages_for(65_537, 1, 65_536), Err(Errno::EAGAIN));
        assert_eq!(pages_for(4_194_304, 1, 65_536), Err(Errno::EAGAIN));
        assert_eq!(pages_for(4_194_305, 1, u64::MAX), Err(Errno::EINVAL));
        assert_eq!(pages_for(1 << 31, 1, u64::MAX), Err(Errno::EAGAIN), "twice as many count as none");
    }

    /// What a program and the kernel do to a ring.
    #[derive(Clone, Debug)]
    enum Step {
        Take,
        GiveBack,
        Complete,
        /// The program reaps so many by itself.
        Reap(u8),
        /// The program stores this as its head.
        Lie(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Take),
            1 => Just(Step::GiveBack),
            4 => Just(Step::Complete),
            2 => any::<u8>().prop_map(Step::Reap),
        ]
    }

    fn hostile() -> impl Strategy<Value = Step> {
        prop_oneof![4 => step(), 1 => any::<u32>().prop_map(Step::Lie)]
    }

    /// Runs the steps and calls `after` with the ring, requests under way, and the program's head.
    fn play(places: u32, steps: Vec<Step>, mut after: impl FnMut(&Room, u32, u32, bool)) {
        let (mut room, mut under_way, mut head) = (Room::new(places), 0_u32, 0_u32);
        for step in steps {
            let mut took = true;
            match step {
                Step::Take => {
                    took = room.take(|| head);
                    under_way += u32::from(took);
                }
                Step::GiveBack if under_way > 0 => {
                    room.give_back();
                    under_way -= 1;
                }
                Step::Complete if under_way > 0 => {
                    assert!(room.next() < places);
                    let tail = room.put(head);
                    assert_eq!(tail, room.next());
                    under_way -= 1;
                }
                Step::Reap(count) => {
                    let (from, tail) = (head % places, room.next());
                    let there = (tail + places - from) % places;
                    head = (from + u32::from(count).min(there)) % places;
                }
                Step::Lie(value) => head = value,
                _ => {}
            }
            after(&room, under_way, head, took);
        }
    }

    proptest! {
        #[test]
        fn who_tells_the_truth_loses_no_event_and_gets_every_place(
            places in 2u32..9, steps in proptest::collection::vec(step(), 0..200),
        ) {
            play(places, steps, |room, under_way, head, took| {
                let in_ring = (room.next() + places - head % places) % places;
                // Every request finds room, and none is refused while there is some.
                assert!(under_way + in_ring < places);
                assert_eq!(room.free + room.waiting + under_way, places - 1);
                assert!(room.waiting >= in_ring);
                assert!(took || under_way + in_ring == places - 1);
            });
        }

        #[test]
        fn who_lies_gets_no_more_requests_than_places(
            places in 2u32..9, steps in proptest::collection::vec(hostile(), 0..200),
        ) {
            play(places, steps, |room, under_way, _, _| {
                assert!(under_way < places);
                assert_eq!(room.free + room.waiting + under_way, places - 1);
                assert!(room.next() < places);
            });
        }

        #[test]
        fn readers_take_what_lies_between_the_words_and_nothing_outside(
            places in 2u32..400, head: u32, tail: u32, most in 0u64..500,
        ) {
            let mut taken = vec![];
            let (mut at, mut left) = (head, most);
            while let Some((first, count)) = run(at, tail, places, left) {
                prop_assert!(first + count <= places);
                prop_assert_eq!((first + 1) / PER_PAGE, (first + count) / PER_PAGE, "in one page");
                taken.extend(first..first + count);
                (at, left) = ((first + count) % places, left - u64::from(count));
            }
            let mut expected = vec![];
            let mut place = head % places;
            while place != tail % places && (expected.len() as u64) < most {
                expected.push(place);
                place = (place + 1) % places;
            }
            prop_assert_eq!(taken, expected);
        }
    }
}
