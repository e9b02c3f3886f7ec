//! The rules of the manual pages.

use super::*;
use crate::ipc::testing::user;
use std::{thread, vec::Vec};

const ANY: (usize, bool) = (100, false);

fn queues() -> (Arc<MessageQueues>, i32) {
    let all = Arc::new(MessageQueues::new(Budget::new(1 << 20)));
    let number = all.get(1, GetFlags::CREATE, 0o600, &user(5, 5)).unwrap();
    (all, number)
}

fn send(all: &MessageQueues, number: i32, kind: i64, text: &[u8]) -> Result<(), Errno> {
    all.send(number, all.message(kind, text.to_vec())?, false, &user(5, 5))
}

fn receive(all: &MessageQueues, number: i32, wanted: Wanted) -> Result<(i64, Vec<u8>), Errno> {
    let message = all.receive(number, wanted, ANY, false, &user(5, 5))?;
    Ok((message.kind, message.text.clone()))
}

#[test]
fn messages_are_taken_in_order_or_by_type() {
    let (all, number) = queues();
    for (kind, text) in [(5, b"a"), (3, b"b"), (4, b"c"), (3, b"d"), (5, b"e")] {
        send(&all, number, kind, text).unwrap();
    }
    let texts = |wanted| receive(&all, number, wanted).map(|(kind, text)| (kind, text[0] as char));
    assert_eq!(all.copy(number, 2, ANY, &user(5, 5)), Ok((4, b"c".to_vec())));
    assert_eq!(all.copy(number, 5, ANY, &user(5, 5)), Err(Errno::ENOMSG));
    assert_eq!(all.copy(number, -1, ANY, &user(5, 5)), Err(Errno::ENOMSG));
    assert_eq!(texts(Wanted::OfType(9)), Err(Errno::ENOMSG));
    assert_eq!(texts(Wanted::UpToType(4)), Ok((3, 'b')));
    assert_eq!(texts(Wanted::UpToType(4)), Ok((3, 'd')));
    assert_eq!(texts(Wanted::ExceptType(5)), Ok((4, 'c')));
    assert_eq!(texts(Wanted::UpToType(4)), Err(Errno::ENOMSG));
    assert_eq!(texts(Wanted::OfType(5)), Ok((5, 'a')));
    assert_eq!(texts(Wanted::First), Ok((5, 'e')));
    assert_eq!(texts(Wanted::First), Err(Errno::ENOMSG));
}

#[test]
fn a_queue_has_room_for_bytes_and_for_as_many_empty_messages() {
    let (all, number) = queues();
    let me = user(5, 5);
    let ids = (me.uid, me.gid, 0o600);
    assert_eq!(all.set(number, ids, 10, &user(6, 6)), Err(Errno::EPERM));
    assert_eq!(all.set(number, ids, 16_385, &me), Err(Errno::EPERM));
    assert_eq!(all.set(number, ids, 10, &me), Ok(()));
    assert_eq!(send(&all, number, 1, b"12345678"), Ok(()));
    assert_eq!(send(&all, number, 1, b"123"), Err(Errno::EAGAIN));
    assert_eq!(send(&all, number, 1, b"12"), Ok(()));
    (2..10).for_each(|_| assert_eq!(send(&all, number, 2, b""), Ok(())));
    assert_eq!(send(&all, number, 2, b""), Err(Errno::EAGAIN));
    let status = all.status(number, false, &me).unwrap();
    assert_eq!((status.bytes, status.count, status.most_bytes), (10, 10, 10));
    assert_eq!(all.sums(), MessageSums { queues: 1, messages: 10, bytes: 10 });
    assert_eq!(all.receive(number, Wanted::First, (7, false), false, &me).map(drop), Err(Errno::E2BIG));
    assert!(all.receive(number, Wanted::First, (7, true), false, &me).is_ok());
    assert_eq!(all.status(number, false, &me).unwrap().bytes, 2);
}

#[test]
fn rights_are_asked_at_each_step_and_memory_has_an_end() {
    let (all, number) = queues();
    assert_eq!(all.get(1, GetFlags::CREATE, 0o600, &user(5, 5)), Ok(number));
    assert_eq!(all.get(1, GetFlags::empty(), 0o200, &user(6, 6)), Err(Errno::EACCES));
    assert_eq!(all.get(2, GetFlags::empty(), 0, &user(5, 5)), Err(Errno::ENOENT));
    assert_eq!(all.get(1, GetFlags::CREATE | GetFlags::EXCLUSIVE, 0, &user(5, 5)), Err(Errno::EEXIST));
    let message = all.message(1, b"x".to_vec()).unwrap();
    assert_eq!(all.send(number, message, true, &user(6, 6)), Err(Errno::EACCES));
    assert_eq!(all.receive(number, Wanted::First, ANY, true, &user(6, 6)).map(drop), Err(Errno::EACCES));
    assert_eq!(all.status(number, false, &user(6, 6)).map(drop), Err(Errno::EACCES));
    assert!(all.status(number, true, &user(6, 6)).is_ok());
    assert_eq!(all.message(1, std::vec![0; 1 << 20]).map(drop), Err(Errno::ENOMEM));
    all.set_limits(MessageLimits { queues: 1, ..MessageLimits::DEFAULT });
    assert_eq!(all.get(0, GetFlags::empty(), 0o600, &user(5, 5)), Err(Errno::ENOSPC));
    assert_eq!(all.remove(number, &user(6, 6)), Err(Errno::EPERM));
    assert_eq!(all.remove(number, &user(5, 5)), Ok(()));
    assert_eq!(send(&all, number, 1, b"x"), Err(Errno::EINVAL));
}

#[test]
fn who_waits_gets_the_message_the_room_or_the_end() {
    let (all, number) = queues();
    let me = user(5, 5);
    let waiting = |all: &Arc<MessageQueues>| {
        let all = all.clone();
        thread::spawn(move || all.receive(number, Wanted::OfType(2), ANY, true, &user(5, 5)).map(|it| it.text.clone()))
    };
    let reader = waiting(&all);
    send(&all, number, 1, b"other").unwrap();
    send(&all, number, 2, b"wanted").unwrap();
    assert_eq!(reader.join().unwrap(), Ok(b"wanted".to_vec()));
    all.set(number, (me.uid, me.gid, 0o600), 5, &me).unwrap();
    let writer = {
        let all = all.clone();
        thread::spawn(move || all.send(number, all.message(3, b"later".to_vec()).unwrap(), true, &user(5, 5)))
    };
    assert_eq!(receive(&all, number, Wanted::OfType(1)), Ok((1, b"other".to_vec())));
    assert_eq!(writer.join().unwrap(), Ok(()));
    assert_eq!(receive(&all, number, Wanted::First), Ok((3, b"later".to_vec())));
    let reader = waiting(&all);
    all.remove(number, &me).unwrap();
    // Whether it slept before the queue went or came after.
    assert!(matches!(reader.join().unwrap(), Err(Errno::EIDRM | Errno::EINVAL)));
}
