//! Descriptors, pipes, event files and readiness.

use super::*;
use crate::{
    EpollChange, EpollEvent, FileTable, OpenRequest, PollEvents, PollRequests, PollTable, SeekFrom, epoll,
    epoll_control, epoll_wait, eventfd, pipe, poll,
    testing::{context, start_frames, with_caller},
};
use std::{thread, vec};

#[test]
fn descriptors_are_the_lowest_free_ones() {
    let root = Arc::new(Credentials::root());
    let file = || eventfd(0, false, OpenFlags::empty(), &root).unwrap();
    let table = FileTable::new();
    let numbers: Vec<i32> = (0..3).map(|_| table.insert(file(), false, 100).unwrap().raw()).collect();
    assert_eq!(numbers, [0, 1, 2]);
    drop(table.close(1).unwrap());
    let slot = table.reserve(0, 100).unwrap();
    assert_eq!(slot.descriptor().raw(), 1);
    assert_eq!(table.get(1).err(), Some(Errno::EBADF));
    assert_eq!(table.duplicate_to(0, 1, false, 100), Err(Errno::EBUSY));
    drop(slot);
    assert_eq!(table.insert(file(), true, 100).unwrap().raw(), 1);
    assert_eq!(table.insert(file(), false, 3).err(), Some(Errno::EMFILE));
    assert_eq!(table.reserve(10, 100).unwrap().descriptor().raw(), 10);
    let child = table.fork().unwrap();
    child.close_on_exec();
    assert_eq!(child.descriptors().len(), 2);
    assert_eq!(table.descriptors().len(), 3);
}

#[test]
fn a_pipe_ends_when_its_writers_do() {
    let root = Arc::new(Credentials::root());
    let [reader, writer] = pipe::pipe(OpenFlags::NONBLOCK, &root).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(reader.read(&mut buffer), Err(Errno::EAGAIN));
    assert_eq!(writer.write(b"abc"), Ok(3));
    assert_eq!(reader.poll(&mut PollTable::look()), PollEvents::READABLE);
    drop(writer);
    assert_eq!(reader.read(&mut buffer), Ok(3));
    assert_eq!(reader.read(&mut buffer), Ok(0));
    assert_eq!(reader.poll(&mut PollTable::look()), PollEvents::HANG_UP);
    let [reader, writer] = pipe::pipe(OpenFlags::empty(), &root).unwrap();
    drop(reader);
    assert_eq!(writer.write(b"abc"), Err(Errno::EPIPE));
    assert_eq!(writer.seek(SeekFrom::Start(0)), Err(Errno::ESPIPE));
}

#[test]
fn a_short_write_is_whole_or_not_at_all() {
    let root = Arc::new(Credentials::root());
    let [reader, writer] = pipe::pipe(OpenFlags::NONBLOCK, &root).unwrap();
    assert_eq!(pipe::set_capacity(&writer, 5000, &root), Ok(8192));
    assert_eq!(writer.write(&[1; 5000]), Ok(5000));
    assert_eq!(writer.write(&[2; 4000]), Err(Errno::EAGAIN));
    assert_eq!(writer.write(&[2; 5000]), Ok(3192));
    assert_eq!(pipe::set_capacity(&writer, 4096, &root), Err(Errno::EBUSY));
    let mut all = vec![0; 9000];
    assert_eq!(reader.read(&mut all), Ok(8192));
}

#[test]
fn threads_hand_bytes_through_a_small_pipe() {
    let root = Arc::new(Credentials::root());
    let [reader, writer] = pipe::pipe(OpenFlags::empty(), &root).unwrap();
    pipe::set_capacity(&writer, 4096, &root).unwrap();
    let bytes: Vec<u8> = (0..200_000u32).map(|number| (number * 31) as u8).collect();
    let sent = bytes.clone();
    let sender = thread::spawn(move || writer.write(&sent));
    let mut received = Vec::new();
    let mut buffer = [0; 1000];
    loop {
        match reader.read(&mut buffer).unwrap() {
            0 => break,
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
    assert_eq!(sender.join().unwrap(), Ok(200_000));
    assert_eq!(received, bytes);
}

#[test]
fn a_pipe_opened_again_waits_for_nobody() {
    let root = Arc::new(Credentials::root());
    let again = |file: &OpenFile, flags| file.inode().clone().open(&OpenRequest { flags, credentials: &root });
    let [reader, writer] = pipe::pipe(OpenFlags::empty(), &root).unwrap();
    writer.write(b"left").unwrap();
    drop(writer);
    let second = again(&reader, OpenFlags::empty()).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(second.read(&mut buffer, &mut 0, OpenFlags::empty()), Ok(4));
    assert!(second.poll(&mut PollTable::look()).contains(PollEvents::HANG_UP));
    let [reader, writer] = pipe::pipe(OpenFlags::empty(), &root).unwrap();
    drop(reader);
    let second = again(&writer, OpenFlags::WRITE_ONLY | OpenFlags::NONBLOCK).unwrap();
    assert!(second.poll(&mut PollTable::look()).contains(PollEvents::ERROR));
}

#[test]
fn a_fifo_opener_waits_for_the_other_side() {
    start_frames();
    let context = context();
    let root = Arc::new(Credentials::root());
    let caller = Caller { context: &context, credentials: &root };
    caller.make(HERE, b"/fifo", NodeKind::Fifo, mode(0o644)).unwrap();
    let nonblocking = OpenFlags::WRITE_ONLY | OpenFlags::NONBLOCK;
    assert_eq!(open(caller, "/fifo", nonblocking).err(), Some(Errno::ENXIO));
    thread::scope(|scope| {
        let writer = scope.spawn(|| open(caller, "/fifo", OpenFlags::WRITE_ONLY).unwrap().write(b"hello"));
        let reader = open(caller, "/fifo", OpenFlags::empty()).unwrap();
        assert_eq!(writer.join().unwrap(), Ok(5));
        let mut buffer = [0; 8];
        assert_eq!(reader.read(&mut buffer), Ok(5));
        assert_eq!(reader.read(&mut buffer), Ok(0));
    });
}

#[test]
fn an_event_file_counts() {
    let root = Arc::new(Credentials::root());
    let file = eventfd(3, true, OpenFlags::NONBLOCK, &root).unwrap();
    let mut word = [0; 8];
    for _ in 0..3 {
        assert_eq!(file.read(&mut word), Ok(8));
        assert_eq!(u64::from_ne_bytes(word), 1);
    }
    assert_eq!(file.read(&mut word), Err(Errno::EAGAIN));
    assert_eq!(file.write(&u64::MAX.to_ne_bytes()), Err(Errno::EINVAL));
    file.write(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    assert_eq!(file.write(&1u64.to_ne_bytes()), Err(Errno::EAGAIN));
    assert_eq!(file.read(&mut word[..4]), Err(Errno::EINVAL));
}

/// The words of the events that an epoll file has now.
fn ready_words(epoll: &OpenFile) -> Vec<u64> {
    let mut words = Vec::new();
    let mut tell = |event: EpollEvent| {
        words.push(event.data);
        Ok(())
    };
    let count = epoll_wait(epoll, 8, &mut tell, Some(0)).unwrap();
    assert_eq!(count, words.len());
    words
}

const IN: u32 = 1;
const EDGE: u32 = 1 << 31;
const ONE_SHOT: u32 = 1 << 30;

#[test]
fn level_edge_and_one_shot_tell_as_often_as_they_should() {
    let root = Arc::new(Credentials::root());
    let [reader, writer] = pipe::pipe(OpenFlags::NONBLOCK, &root).unwrap();
    let set = epoll(&root).unwrap();
    let add = |descriptor, events, data| {
        epoll_control(&set, descriptor, &reader, EpollChange::Add(EpollEvent { events, data }))
    };
    add(3, IN, 1).unwrap();
    add(4, IN | EDGE, 2).unwrap();
    add(5, IN | ONE_SHOT, 3).unwrap();
    assert_eq!(add(5, IN, 3), Err(Errno::EEXIST));
    assert_eq!(ready_words(&set), []);
    writer.write(b"a").unwrap();
    let mut first = ready_words(&set);
    first.sort_unstable();
    assert_eq!(first, [1, 2, 3]);
    assert_eq!(ready_words(&set), [1]);
    writer.write(b"b").unwrap();
    let mut second = ready_words(&set);
    second.sort_unstable();
    assert_eq!(second, [1, 2]);
    let again = EpollChange::Modify(EpollEvent { events: IN | ONE_SHOT, data: 4 });
    epoll_control(&set, 5, &reader, again).unwrap();
    let mut third = ready_words(&set);
    third.sort_unstable();
    assert_eq!(third, [1, 4]);
    reader.read(&mut [0; 8]).unwrap();
    assert_eq!(ready_words(&set), []);
    epoll_control(&set, 3, &reader, EpollChange::Remove).unwrap();
    assert_eq!(epoll_control(&set, 3, &reader, EpollChange::Remove), Err(Errno::ENOENT));
    writer.write(b"c").unwrap();
    assert_eq!(ready_words(&set), [2]);
}

#[test]
fn what_is_refused_or_not_asked_for_stays_ready() {
    let root = Arc::new(Credentials::root());
    let set = epoll(&root).unwrap();
    let events: Vec<_> = (0..600).map(|_| eventfd(1, false, OpenFlags::NONBLOCK, &root).unwrap()).collect();
    for (place, event) in events.iter().enumerate() {
        let kind = [IN, IN | EDGE, IN | ONE_SHOT][place % 3];
        let add = EpollChange::Add(EpollEvent { events: kind, data: place as u64 });
        epoll_control(&set, place as i32, event, add).unwrap();
    }
    let mut told = Vec::new();
    let mut wait = |most: usize, room: usize| {
        let before = told.len();
        let mut tell = |event: EpollEvent| {
            if told.len() - before == room {
                return Err(Errno::EFAULT);
            }
            told.push(event.data);
            Ok(())
        };
        epoll_wait(&set, most, &mut tell, Some(0))
    };
    assert_eq!(wait(8, 0), Err(Errno::EFAULT));
    assert_eq!(wait(100, 60), Ok(60));
    assert_eq!(wait(300, 300), Ok(300));
    assert_eq!(wait(1000, 1000), Ok(360), "the others, and those that stay ready");
    assert_eq!(wait(0, 0), Err(Errno::EINVAL));
    let of_kind = |kind: u64| told.iter().filter(|place| **place % 3 == kind).count();
    assert_eq!([of_kind(0), of_kind(1), of_kind(2)], [320, 200, 200]);
}

#[test]
fn an_epoll_file_in_another_is_told_of_once_for_each_edge() {
    let root = Arc::new(Credentials::root());
    let [outer, inner] = [(); 2].map(|()| epoll(&root).unwrap());
    let event = eventfd(0, false, OpenFlags::NONBLOCK, &root).unwrap();
    let add = |set: &OpenFile, target, events, data| {
        epoll_control(set, 3, target, EpollChange::Add(EpollEvent { events, data })).unwrap();
    };
    add(&inner, &event, IN, 1);
    add(&outer, &inner, IN | EDGE, 2);
    assert_eq!(ready_words(&outer), []);
    event.write(&1u64.to_ne_bytes()).unwrap();
    assert_eq!([ready_words(&outer), ready_words(&outer)], [vec![2], vec![]]);
    assert_eq!([ready_words(&inner), ready_words(&inner)], [vec![1], vec![1]]);
    assert_eq!(ready_words(&outer), [], "that it is still ready is no edge");
    event.write(&1u64.to_ne_bytes()).unwrap();
    assert_eq!(ready_words(&outer), [2]);
}

/// The rules of `EPOLLEXCLUSIVE` in epoll_ctl(2).
#[test]
fn who_asks_to_be_woken_alone_asks_once_and_for_little() {
    const EXCLUSIVE: u32 = 1 << 28;
    let root = Arc::new(Credentials::root());
    let [set, other] = [(); 2].map(|()| epoll(&root).unwrap());
    let event = eventfd(0, false, OpenFlags::NONBLOCK, &root).unwrap();
    let change = |kind: fn(EpollEvent) -> EpollChange, target, events| {
        epoll_control(&set, 3, target, kind(EpollEvent { events, data: 7 }))
    };
    assert_eq!(change(EpollChange::Add, &other, IN | EXCLUSIVE), Err(Errno::EINVAL));
    assert_eq!(change(EpollChange::Add, &event, IN | ONE_SHOT | EXCLUSIVE), Err(Errno::EINVAL));
    assert_eq!(change(EpollChange::Modify, &event, IN | EXCLUSIVE), Err(Errno::EINVAL));
    assert_eq!(change(EpollChange::Modify, &event, IN), Err(Errno::ENOENT));
    assert_eq!(change(EpollChange::Add, &event, IN | EDGE | EXCLUSIVE), Ok(()));
    assert_eq!(change(EpollChange::Modify, &event, IN), Err(Errno::EINVAL));
    event.write(&1u64.to_ne_bytes()).unwrap();
    assert_eq!(ready_words(&set), [7]);
}

#[test]
fn epoll_files_lie_in_each_other_but_never_in_a_ring() {
    let root = Arc::new(Credentials::root());
    let (inner, outer) = (epoll(&root).unwrap(), epoll(&root).unwrap());
    let event = eventfd(0, false, OpenFlags::NONBLOCK, &root).unwrap();
    let word = |data| EpollChange::Add(EpollEvent { events: IN, data });
    epoll_control(&inner, 3, &event, word(1)).unwrap();
    epoll_control(&outer, 4, &inner, word(2)).unwrap();
    assert_eq!(epoll_control(&inner, 5, &outer, word(3)), Err(Errno::ELOOP));
    assert_eq!(epoll_control(&inner, 5, &inner, word(3)), Err(Errno::EINVAL));
    assert_eq!(ready_words(&outer), []);
    event.write(&1u64.to_ne_bytes()).unwrap();
    assert_eq!(ready_words(&outer), [2]);
    event.read(&mut [0; 8]).unwrap();
    assert_eq!(ready_words(&outer), []);
    with_caller(|caller| {
        write(caller, "/f", b"");
        let file = open(caller, "/f", OpenFlags::empty()).unwrap();
        assert_eq!(epoll_control(&inner, 6, &file, word(4)), Err(Errno::EPERM));
    });
}

#[test]
fn a_closed_file_leaves_its_epoll() {
    let root = Arc::new(Credentials::root());
    let set = epoll(&root).unwrap();
    let event = eventfd(1, false, OpenFlags::NONBLOCK, &root).unwrap();
    epoll_control(&set, 3, &event, EpollChange::Add(EpollEvent { events: IN, data: 1 })).unwrap();
    assert_eq!(ready_words(&set), [1]);
    drop(event);
    assert_eq!(ready_words(&set), []);
}

/// Descriptors of which each is asked whether it can be read, and what was found.
struct Requests(Vec<(i32, PollEvents)>);

impl Requests {
    fn of<const N: usize>(descriptors: [i32; N]) -> Self {
        Self(descriptors.map(|descriptor| (descriptor, PollEvents::empty())).to_vec())
    }
}

impl PollRequests for Requests {
    fn answer(&mut self, mut look: impl FnMut(i32, PollEvents) -> PollEvents) -> usize {
        self.0.iter_mut().for_each(|(descriptor, found)| *found = look(*descriptor, PollEvents::IN));
        self.0.iter().filter(|(_, found)| !found.is_empty()).count()
    }
}

#[test]
fn poll_looks_at_quick_and_slow_files_and_at_more_than_go_together() {
    let root = Arc::new(Credentials::root());
    let table = FileTable::new();
    for number in 0..40 {
        // Every third is looked at without the table.
        let file = if number % 3 == 0 {
            let set = epoll(&root).unwrap();
            let event = eventfd(1, false, OpenFlags::empty(), &root).unwrap();
            epoll_control(&set, 3, &event, EpollChange::Add(EpollEvent { events: IN, data: 1 })).unwrap();
            table.insert(event, false, 100).unwrap();
            set
        } else {
            eventfd(number % 2, false, OpenFlags::empty(), &root).unwrap()
        };
        table.insert(file, false, 100).unwrap();
    }
    let mut requests = Requests::of(core::array::from_fn::<_, 60, _>(|at| at as i32));
    let ready = poll(&table, &mut requests, Some(0)).unwrap();
    for (descriptor, found) in &requests.0 {
        let expected = table.get(*descriptor).map_or(PollEvents::INVALID, |file| {
            file.poll(&mut PollTable::look()) & (PollEvents::IN | PollEvents::ERROR | PollEvents::HANG_UP)
        });
        assert_eq!(*found, expected, "{descriptor}");
    }
    assert_eq!(ready, 14 + 14 + 13 + 6, "epoll files, their events, odd numbers, and what is not open");
}

#[test]
fn poll_wakes_for_whichever_comes_first() {
    let root = Arc::new(Credentials::root());
    let table = FileTable::new();
    let [reader, writer] = pipe::pipe(OpenFlags::empty(), &root).unwrap();
    let quiet = eventfd(0, false, OpenFlags::empty(), &root).unwrap();
    table.insert(quiet, false, 10).unwrap();
    table.insert(reader, false, 10).unwrap();
    let mut requests = Requests::of([0, 1, 7]);
    assert_eq!(poll(&table, &mut requests, Some(0)), Ok(1));
    assert_eq!(requests.0[2], (7, PollEvents::INVALID));
    let mut requests = Requests::of([0, 1]);
    thread::scope(|scope| {
        scope.spawn(move || writer.write(b"x").unwrap());
        assert!(poll(&table, &mut requests, None).unwrap() == 1);
    });
    assert!(requests.0[0].1.is_empty() && requests.0[1].1.contains(PollEvents::IN));
}
