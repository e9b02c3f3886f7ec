//! The rules of the manual pages.

use super::*;
use crate::ipc::testing::user;
use base::{Pid, Uid};
use std::{thread, vec::Vec};

const READ_WRITE: OpenFlags = OpenFlags::READ_WRITE;

fn wish(name: &[u8], flags: OpenFlags) -> OpenQueue<'_> {
    OpenQueue { name, flags, permissions: Permissions::new(0o640), attributes: Some((2, 8)), limit: 819_200 }
}

fn make(all: &PosixQueues, name: &[u8], who: &Credentials) -> Result<Arc<Queue>, Errno> {
    all.find_or_make(&wish(name, READ_WRITE | OpenFlags::CREATE), who)
}

fn send(queue: &Queue, text: &[u8], priority: u32) -> Result<(), Errno> {
    queue.send(text.to_vec(), priority, false, None, (Pid::new(1), Uid::ROOT))
}

fn receive(queue: &Queue) -> Result<(Vec<u8>, u32), Errno> {
    queue.receive(false, None)
}

#[test]
fn names_are_plain_and_lead_to_one_queue() {
    let (all, me) = (PosixQueues::new(), user(5, 5));
    let of = |name: &[u8]| make(&all, name, &me).map(drop);
    assert_eq!(of(b""), Err(Errno::ENOENT));
    assert_eq!([of(b"a/b"), of(b"."), of(b"..")], [Err(Errno::EACCES); 3]);
    assert_eq!(of(&[b'x'; 256]), Err(Errno::ENAMETOOLONG));
    assert_eq!(all.find_or_make(&wish(b"a", READ_WRITE), &me).map(drop), Err(Errno::ENOENT));
    let queue = make(&all, b"a", &me).unwrap();
    let again = all.find_or_make(&wish(b"a", READ_WRITE), &me).unwrap();
    assert!(Arc::ptr_eq(&queue, &again));
    let exclusive = READ_WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    assert_eq!(all.find_or_make(&wish(b"a", exclusive), &me).map(drop), Err(Errno::EEXIST));
    let open_as = |flags, uid, gid| all.find_or_make(&wish(b"a", flags), &user(uid, gid)).map(drop);
    assert_eq!(open_as(OpenFlags::empty(), 6, 5), Ok(()));
    assert_eq!(open_as(READ_WRITE, 6, 5), Err(Errno::EACCES));
    assert_eq!(open_as(OpenFlags::empty(), 6, 6), Err(Errno::EACCES));
    assert_eq!(all.unlink(b"a", &user(6, 5)), Err(Errno::EPERM));
    assert_eq!(all.unlink(b"a", &me), Ok(()));
    assert_eq!(all.unlink(b"a", &me), Err(Errno::ENOENT));
    assert!(!Arc::ptr_eq(&queue, &make(&all, b"a", &me).unwrap()), "the old one lives on without its name");
}

#[test]
fn queues_are_listed_and_lose_their_names_by_number() {
    let (all, me) = (PosixQueues::new(), user(5, 5));
    let first = make(&all, b"b", &me).unwrap();
    let second = all.create(b"a", Permissions::new(0o600), &me, 819_200).unwrap();
    assert_eq!(second.attributes().most_messages, 10);
    assert_eq!(all.create(b"a", Permissions::new(0o600), &me, 819_200).map(drop), Err(Errno::EEXIST));
    let names: Vec<_> = all.list().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [b"b".to_vec(), b"a".to_vec()]);
    assert_eq!(all.remove(b"a", first.number()), Err(Errno::ENOENT), "this name is another queue's by now");
    assert_eq!(all.remove(b"a", second.number()), Ok(()));
    assert_eq!(all.find(b"a").map(drop), Err(Errno::ENOENT));
    assert!(first.metadata().device == all.device() && first.number() > 1);
}

#[test]
fn attributes_and_costs_have_limits() {
    let limits = QueueLimits { default_messages: 20, ..QueueLimits::DEFAULT };
    assert_eq!(attributes(&limits, None, false), Ok((10, 8192)));
    assert_eq!(attributes(&limits, Some((11, 1)), false), Err(Errno::EINVAL));
    assert_eq!(attributes(&limits, Some((65_536, 16 << 20)), true), Ok((65_536, 16 << 20)));
    assert_eq!(attributes(&limits, Some((65_537, 1)), true), Err(Errno::EINVAL));
    assert_eq!(
        [attributes(&limits, Some((0, 1)), true), attributes(&limits, Some((1, -1)), true)],
        [Err(Errno::EINVAL); 2]
    );
    assert_eq!(cost(10, 8192), 82_880);

    let (all, me) = (PosixQueues::new(), user(5, 5));
    all.set_limits(QueueLimits { queues: 2, ..QueueLimits::DEFAULT });
    let dear = OpenQueue { limit: 207, ..wish(b"a", READ_WRITE | OpenFlags::CREATE) };
    assert_eq!(all.find_or_make(&dear, &me).map(drop), Err(Errno::EMFILE));
    let first = all.find_or_make(&OpenQueue { limit: 208, ..dear }, &me).unwrap();
    make(&all, b"b", &me).unwrap();
    assert_eq!(make(&all, b"c", &me).map(drop), Err(Errno::ENOSPC));
    all.unlink(b"a", &me).unwrap();
    assert_eq!(make(&all, b"c", &me).map(drop), Err(Errno::ENOSPC), "it is still open");
    drop(first);
    assert!(make(&all, b"c", &me).is_ok());
}

#[test]
fn the_highest_priority_goes_first_and_a_full_queue_waits() {
    let queue = make(&PosixQueues::new(), b"a", &user(5, 5)).unwrap();
    assert_eq!(receive(&queue), Err(Errno::EAGAIN));
    assert_eq!(queue.receive(true, Some(0)), Err(Errno::ETIMEDOUT));
    send(&queue, b"low", 1).unwrap();
    send(&queue, b"high", 7).unwrap();
    assert_eq!(send(&queue, b"more", 9), Err(Errno::EAGAIN));
    assert_eq!(queue.send(b"more".to_vec(), 9, true, Some(0), (Pid::new(1), Uid::ROOT)), Err(Errno::ETIMEDOUT));
    assert_eq!(queue.attributes(), QueueAttributes { most_messages: 2, most_bytes: 8, count: 2 });
    let text = std::string::String::from_utf8(queue.text()).unwrap();
    assert_eq!(text, "QSIZE:7          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
    assert_eq!(receive(&queue), Ok((b"high".to_vec(), 7)));
    send(&queue, b"too", 1).unwrap();
    assert_eq!(receive(&queue), Ok((b"low".to_vec(), 1)));
    assert_eq!(receive(&queue), Ok((b"too".to_vec(), 1)));
    assert_eq!(receive(&queue), Err(Errno::EAGAIN));
}

#[test]
fn a_sleeping_reader_gets_the_next_message() {
    let queue = make(&PosixQueues::new(), b"a", &user(5, 5)).unwrap();
    let reader = {
        let queue = queue.clone();
        thread::spawn(move || queue.receive(true, None))
    };
    send(&queue, b"hello", 3).unwrap();
    assert_eq!(reader.join().unwrap(), Ok((b"hello".to_vec(), 3)));
    assert_eq!(queue.waiting(), 0);
}
