//! Contexts, rings and polls without tasks.

use super::*;
use crate::ipc::testing::start_memory;
use alloc::boxed::Box;
use base::Credentials;
use std::{vec, vec::Vec};
use vfs::{EventBell, OpenFile, OpenFlags, PollEvents};

const PAGE: u64 = 4096;

fn aio() -> &'static Aio {
    Box::leak(Box::new(Aio::new()))
}

fn space() -> Arc<AddressSpace> {
    start_memory();
    AddressSpace::new(8 << 20).unwrap()
}

fn counter(initial: u32) -> Arc<OpenFile> {
    vfs::eventfd(initial, false, OpenFlags::NONBLOCK, &Arc::new(Credentials::root())).unwrap()
}

fn add(counter: &OpenFile) {
    counter.write(&1_u64.to_ne_bytes()).unwrap();
}

/// What was added to it since it was last read.
fn count(counter: &OpenFile) -> u64 {
    let mut bytes = [0; 8];
    counter.read(&mut bytes).map_or(0, |_| u64::from_ne_bytes(bytes))
}

/// A space with a context for a few requests, and memory where events go.
struct World {
    aio: &'static Aio,
    space: Arc<AddressSpace>,
    address: u64,
    context: Arc<Context>,
    out: u64,
}

impl World {
    fn new() -> Self {
        let (aio, space) = (aio(), space());
        let address = Contexts::set_up(&space, aio, 2, &Limits::NONE).unwrap();
        let memory = MapRequest { populate: true, ..MapRequest::anonymous(4 * PAGE) };
        let out = space.map(memory, &Limits::NONE).unwrap();
        space.activate();
        // Nothing brings pages in here that a program touches.
        space.fault(address, memory::Access::Write, &Limits::NONE).unwrap();
        let context = Contexts::find(&space, address).unwrap().1;
        Self { aio, space, address, context, out }
    }

    fn words(&self) -> Vec<u32> {
        let mut bytes = [0; 32];
        self.space.read(self.address, &mut bytes).unwrap();
        bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
    }

    /// Takes what there is, without waiting: data, address and result of each.
    fn reap(&self, most: u64) -> Result<Vec<[u64; 3]>, Errno> {
        let taken = self.context.reap(&Reaping { least: 0, most, out: self.out, deadline: Some(0) })?;
        let mut bytes = vec![0; taken as usize * 32];
        self.space.read(self.out, &mut bytes).unwrap();
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        Ok(bytes.chunks_exact(32).map(|event| [0, 8, 16].map(|at| word(&event[at..at + 8]))).collect())
    }

    fn poll(&self, file: &Arc<OpenFile>, events: PollEvents, object: u64) -> Result<(), Errno> {
        let place = self.context.take_place()?;
        self.context.poll(place, PollRequest { file: file.clone(), events, data: object * 10, object })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        machine::paging::deactivate();
    }
}

#[test]
fn a_ring_says_what_a_library_wants_to_know_before_it_reads_by_itself() {
    let world = World::new();
    let words = world.words();
    assert_eq!(words[1..], [world.context.places(), 0, 0, 0xa10a_10a1, 1, 0, 32]);
    let area = world.space.areas().find(|area| area.start == world.address).unwrap();
    assert_eq!(area.source.unwrap().path, b"/[aio] (deleted)");
    assert_eq!(area.sharing, Sharing::Shared);
}

#[test]
fn events_are_reaped_in_order_by_the_kernel_and_by_the_program() {
    let world = World::new();
    for number in 1..=20 {
        world.context.take_place().unwrap().fill(Event { data: number, object: 7, result: -(number as i64) });
    }
    assert_eq!(world.words()[2..4], [0, 20]);
    assert_eq!(world.reap(1).unwrap(), [[1, 7, -1_i64 as u64]]);
    // The program takes two by itself.
    machine::user_memory::write(world.address + 8, &3_u32.to_le_bytes()).unwrap();
    let rest = world.reap(100).unwrap();
    assert_eq!(rest.iter().map(|event| event[0]).collect::<Vec<_>>(), (4..=20).collect::<Vec<_>>());
    assert_eq!(world.words()[2..4], [20, 20]);
}

#[test]
fn a_full_ring_takes_no_request_until_events_are_reaped() {
    let world = World::new();
    let most = world.context.places() - 1;
    let fill = || world.context.take_place().map(|place| place.fill(Event { data: 0, object: 0, result: 0 }));
    assert!((0..most).all(|_| fill().is_ok()));
    assert_eq!(fill(), Err(Errno::EAGAIN));
    assert_eq!(world.reap(2).unwrap().len(), 2);
    assert_eq!([fill(), fill(), fill()], [Ok(()), Ok(()), Err(Errno::EAGAIN)]);
    // Whatever a program stores there.
    for word in [u32::MAX, 0x8000_0000, most, 0] {
        machine::user_memory::write(world.address + 8, &word.to_le_bytes()).unwrap();
        machine::user_memory::write(world.address + 12, &word.rotate_left(7).to_le_bytes()).unwrap();
        while fill().is_ok() {}
        assert!(world.reap(1000).unwrap().len() < world.context.places() as usize);
    }
}

#[test]
fn events_that_cannot_be_stored_stay() {
    let world = World::new();
    world.context.take_place().unwrap().fill(Event { data: 5, object: 0, result: 0 });
    let bad = Reaping { least: 1, most: 1, out: 0x1000, deadline: None };
    assert_eq!(world.context.reap(&bad), Err(Errno::EFAULT));
    assert_eq!(world.reap(1).unwrap()[0][0], 5);
}

#[test]
fn a_poll_ends_when_its_file_becomes_ready_and_not_before() {
    let world = World::new();
    let (file, bell) = (counter(0), counter(0));
    let mut place = world.context.take_place().unwrap();
    place.set_bell(EventBell::of(bell.clone()).unwrap());
    let request = PollRequest { file: file.clone(), events: PollEvents::IN, data: 3, object: 8 };
    world.context.poll(place, request).unwrap();
    assert!(world.reap(1).unwrap().is_empty());
    // A wake-up that makes nothing ready.
    count(&file);
    add(&file);
    count(&file);
    assert!(world.aio.polls.turn() && !world.aio.polls.turn());
    assert_eq!((count(&bell), world.reap(1).unwrap().len()), (0, 0));
    add(&file);
    add(&file);
    assert!(world.aio.polls.turn());
    assert_eq!(count(&bell), 1);
    assert_eq!(world.reap(2).unwrap(), [[3, 8, PollEvents::IN.bits().into()]]);
    add(&file);
    assert!(!world.aio.polls.turn(), "nobody waits any more");
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn a_context_with_much_to_do_lets_others_have_their_turn() {
    let world = World::new();
    let (file, other) = (counter(0), counter(0));
    (0..100).for_each(|object| world.poll(&file, PollEvents::IN, object).unwrap());
    let address = Contexts::set_up(&world.space, world.aio, 2, &Limits::NONE).unwrap();
    world.space.fault(address, memory::Access::Write, &Limits::NONE).unwrap();
    let second = Contexts::find(&world.space, address).unwrap().1;
    let request = PollRequest { file: other.clone(), events: PollEvents::IN, data: 0, object: 0 };
    second.poll(second.take_place().unwrap(), request).unwrap();
    add(&file);
    add(&other);
    assert!(world.aio.polls.turn());
    let tails = || [world.address, address].map(|ring| machine::user_memory::load_u32(ring + 12).unwrap());
    assert_eq!(tails(), [64, 0]);
    assert!(world.aio.polls.turn());
    assert_eq!(tails(), [64, 1]);
    assert!(world.aio.polls.turn() && !world.aio.polls.turn());
    assert_eq!(tails(), [100, 1]);
}

#[test]
fn who_reaps_does_not_have_to_wait_for_the_thread() {
    let world = World::new();
    let file = counter(0);
    world.poll(&file, PollEvents::IN, 1).unwrap();
    add(&file);
    assert_eq!(world.reap(1).unwrap(), [[10, 1, PollEvents::IN.bits().into()]]);
}

#[test]
fn a_poll_of_what_is_ready_ends_at_once_and_one_that_never_can_be_is_refused() {
    let world = World::new();
    let file = counter(1);
    world.poll(&file, PollEvents::IN | PollEvents::OUT, 1).unwrap();
    assert_eq!(world.reap(1).unwrap()[0][2], (PollEvents::IN | PollEvents::OUT).bits().into());
    let credentials = Arc::new(Credentials::root());
    let never = vfs::anonymous_file("never", Arc::new(Silent), OpenFlags::READ_WRITE, &credentials).unwrap();
    assert_eq!(world.poll(&never, PollEvents::IN, 1), Err(Errno::EINVAL));
    let most = world.context.places() - 1;
    let places: Vec<_> = (0..most).map_while(|_| world.context.take_place().ok()).collect();
    assert_eq!(places.len() as u32, most, "it has given its place back");
}

/// A file that is never ready and has nobody told.
struct Silent;

impl vfs::FileOps for Silent {
    fn poll(&self, _table: &mut vfs::PollTable<'_>) -> PollEvents {
        PollEvents::empty()
    }
}

#[test]
fn what_is_cancelled_ends_without_events() {
    let world = World::new();
    let file = counter(0);
    world.poll(&file, PollEvents::IN, 1).unwrap();
    world.poll(&file, PollEvents::IN, 2).unwrap();
    assert_eq!(world.context.cancel(3), Err(Errno::EINVAL));
    assert_eq!(world.context.cancel(2), Ok(()));
    assert_eq!(world.context.cancel(2), Err(Errno::EINVAL));
    assert_eq!(world.reap(2).unwrap(), [[20, 2, 0]]);
    add(&file);
    assert_eq!(world.reap(2).unwrap(), [[10, 1, 1]]);
}

#[test]
fn an_address_space_takes_its_contexts_along() {
    let world = World::new();
    let (file, bell) = (counter(0), counter(0));
    let mut place = world.context.take_place().unwrap();
    place.set_bell(EventBell::of(bell.clone()).unwrap());
    let request = PollRequest { file: file.clone(), events: PollEvents::IN, data: 0, object: 0 };
    world.context.poll(place, request).unwrap();
    assert_eq!(world.aio.requests(), 2);
    let child = world.space.fork(None).unwrap();
    assert!(child.companion().is_none(), "a child has none");
    let (aio, context) = (world.aio, world.context.clone());
    drop(world);
    assert_eq!((aio.requests(), count(&bell)), (0, 1), "what waited has ended");
    assert_eq!(Arc::strong_count(&file), 1);
    let late = PollRequest { file: file.clone(), events: PollEvents::IN, data: 0, object: 0 };
    context.poll(context.take_place().unwrap(), late).unwrap();
    assert_eq!(Arc::strong_count(&file), 1, "nothing waits in what has ended");
}

#[test]
fn a_context_goes_where_its_ring_goes_in_its_own_space_only() {
    let mut world = World::new();
    let length = world.context.ring.length();
    let child = world.space.fork(None).unwrap();
    let in_child = child.remap(world.address, length, length, 3, 0x20_0000_0000, &Limits::NONE).unwrap();
    assert_eq!(world.context.ring.address(), world.address);
    let longer = world.space.remap(world.address, length, length + PAGE, 1, 0, &Limits::NONE);
    assert_eq!(longer, Err(Errno::EFAULT));
    let twice = world.space.remap(world.address, length, length, 5, 0, &Limits::NONE);
    assert_eq!(twice, Err(Errno::EINVAL));
    let before = world.address;
    world.address = world.space.remap(before, length, length, 3, 0x30_0000_0000, &Limits::NONE).unwrap();
    assert_eq!(world.context.ring.address(), world.address);
    assert!(Contexts::find(&world.space, before).is_err() && Contexts::find(&world.space, world.address).is_ok());
    world.context.take_place().unwrap().fill(Event { data: 9, object: 0, result: 0 });
    let mut tail = [0; 4];
    child.read(in_child + 12, &mut tail).unwrap();
    assert_eq!((world.words()[3], tail), (1, [1, 0, 0, 0]), "the memory is the same");
}

#[test]
fn the_limit_is_one_for_all_and_comes_back() {
    let (aio, space) = (aio(), space());
    let set_up = |requests| Contexts::set_up(&space, aio, requests, &Limits::NONE);
    aio.set_most(10);
    assert_eq!(set_up(11), Err(Errno::EAGAIN));
    assert!(set_up(6).is_ok());
    assert_eq!((set_up(5), aio.requests()), (Err(Errno::EAGAIN), 6));
    assert!(set_up(4).is_ok());
    drop(space);
    assert_eq!(aio.requests(), 0);
}
