//! Tests of local sockets.

use super::*;
use crate::testing;
use base::{Gid, Pid, Uid};
use std::{string::String, thread, vec};

const ME: Peer = Peer { pid: Pid::new(7), uid: Uid::ROOT, gid: Gid::ROOT };

fn ends(kind: SocketType) -> [Arc<OpenFile>; 2] {
    pair(kind, OpenFlags::NONBLOCK, &Arc::new(Credentials::root()), ME).unwrap()
}

fn of(file: &OpenFile) -> &Socket {
    file.operations().unwrap()
}

fn text(file: &OpenFile, size: usize) -> Result<String, Errno> {
    let mut buffer = vec![0; size];
    let count = file.read(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..count]).into_owned())
}

fn ready(file: &OpenFile) -> PollEvents {
    file.poll(&mut PollTable::look())
}

#[test]
fn a_stream_joins_what_was_sent_and_a_packet_stays_whole() {
    let [one, two] = ends(SocketType::Stream);
    one.write(b"ab").unwrap();
    one.write(b"cd").unwrap();
    assert_eq!(text(&two, 3), Ok("abc".into()));
    assert_eq!(text(&two, 3), Ok("d".into()));
    assert_eq!(text(&two, 3), Err(Errno::EAGAIN));
    let [one, two] = ends(SocketType::SequencedPacket);
    one.write(b"abcd").unwrap();
    one.write(b"e").unwrap();
    assert_eq!(text(&two, 3), Ok("abc".into()));
    assert_eq!(text(&two, 3), Ok("e".into()));
}

#[test]
fn a_closed_peer_is_the_end_for_readers_and_a_broken_pipe_for_writers() {
    let [one, two] = ends(SocketType::Stream);
    one.write(b"last").unwrap();
    drop(one);
    assert!(ready(&two).contains(PollEvents::READABLE | PollEvents::HANG_UP));
    assert_eq!(text(&two, 10), Ok("last".into()));
    assert_eq!(text(&two, 10), Ok("".into()));
    assert_eq!(two.write(b"x"), Err(Errno::EPIPE));
}

#[test]
fn a_peer_that_left_bytes_unread_resets_the_connection() {
    let [one, two] = ends(SocketType::Stream);
    two.write(b"never read").unwrap();
    drop(one);
    assert_eq!(text(&two, 10), Err(Errno::ECONNRESET));
    assert_eq!(text(&two, 10), Ok("".into()));
}

#[test]
fn shutdown_ends_one_direction() {
    let [one, two] = ends(SocketType::Stream);
    of(&one).shutdown(Shutdown::Write).unwrap();
    assert_eq!(text(&two, 10), Ok("".into()));
    assert_eq!(one.write(b"x"), Err(Errno::EPIPE));
    two.write(b"back").unwrap();
    assert_eq!(text(&one, 10), Ok("back".into()));
}

#[test]
fn a_full_stream_takes_what_fits() {
    let [one, two] = ends(SocketType::Stream);
    assert_eq!(one.write(&vec![1; CAPACITY + 10]), Ok(CAPACITY));
    assert_eq!(one.write(b"x"), Err(Errno::EAGAIN));
    assert!(!ready(&one).contains(PollEvents::OUT));
    assert_eq!(text(&two, CAPACITY).map(|text| text.len()), Ok(CAPACITY));
    assert!(ready(&one).contains(PollEvents::OUT));
}

#[test]
fn files_come_with_the_bytes_that_they_were_sent_with() {
    testing::with_caller(|caller| {
        let [one, two] = ends(SocketType::Stream);
        let passed = ends(SocketType::Stream);
        one.write(b"before").unwrap();
        of(&one).send(&caller, b"with", None, vec![passed[0].clone()], true).unwrap();
        one.write(b"after").unwrap();
        let mut buffer = [0; 100];
        let first = of(&two).receive(&mut buffer, false, true).unwrap();
        assert_eq!((first.length, first.files.len()), (6, 0));
        let second = of(&two).receive(&mut buffer, false, true).unwrap();
        assert_eq!((&buffer[..second.length], second.files.len()), (&b"withafter"[..], 1));
        assert!(Arc::ptr_eq(&second.files[0], &passed[0]));
    });
}

#[test]
fn a_listener_hands_out_connections() {
    testing::with_caller(|caller| {
        for address in [Address::Path(b"/sock".to_vec()), Address::Abstract(b"name".to_vec())] {
            let root = caller.credentials;
            let new = || socket(SocketType::Stream, OpenFlags::NONBLOCK, root).unwrap();
            let (listener, client) = (new(), new());
            assert_eq!(of(&listener).listen(1, ME), Err(Errno::EINVAL));
            of(&listener).bind(&caller, &address).unwrap();
            assert_eq!(of(&new()).bind(&caller, &address), Err(Errno::EADDRINUSE));
            assert_eq!(of(&client).connect(&caller, &address, true, ME), Err(Errno::ECONNREFUSED));
            of(&listener).listen(1, ME).unwrap();
            assert!(of(&listener).accept(true, OpenFlags::empty()).is_err_and(|error| error == Errno::EAGAIN));
            of(&client).connect(&caller, &address, true, ME).unwrap();
            assert!(ready(&listener).contains(PollEvents::IN));
            client.write(b"hello").unwrap();
            let server = of(&listener).accept(true, OpenFlags::NONBLOCK).unwrap();
            assert_eq!(text(&server, 10), Ok("hello".into()));
            assert_eq!(of(&client).peer_name(), Ok(address.clone()));
            assert_eq!(of(&server).name(), address);
            assert_eq!(of(&server).peer(), Some(ME));
            assert_eq!(of(&client).connect(&caller, &address, true, ME), Err(Errno::EISCONN));
            drop(listener);
            assert_eq!(of(&new()).connect(&caller, &address, true, ME), Err(Errno::ECONNREFUSED));
        }
    });
}

#[test]
fn datagrams_go_to_a_name_and_tell_theirs() {
    testing::with_caller(|caller| {
        let new = || socket(SocketType::Datagram, OpenFlags::NONBLOCK, caller.credentials).unwrap();
        let (one, two) = (new(), new());
        let names = [Address::Abstract(b"one".to_vec()), Address::Path(b"/two".to_vec())];
        of(&one).bind(&caller, &names[0]).unwrap();
        of(&two).bind(&caller, &names[1]).unwrap();
        assert_eq!(one.write(b"x"), Err(Errno::EDESTADDRREQ));
        of(&one).send(&caller, b"to two", Some(&names[1]), Vec::new(), true).unwrap();
        let mut buffer = [0; 3];
        let received = of(&two).receive(&mut buffer, false, true).unwrap();
        assert_eq!((received.length, received.full_length, received.from), (3, 6, Some(names[0].clone())));
        of(&two).connect(&caller, &names[0], true, ME).unwrap();
        assert_eq!(two.write(b"back"), Ok(4));
        drop(one);
        assert_eq!(two.write(b"nobody"), Err(Errno::ECONNREFUSED));
    });
}

#[test]
fn a_reader_sleeps_until_something_is_sent() {
    let [one, two] = pair(SocketType::Stream, OpenFlags::empty(), &Arc::new(Credentials::root()), ME).unwrap();
    let reader = thread::spawn(move || text(&two, 10));
    one.write(b"woken").unwrap();
    assert_eq!(reader.join().unwrap(), Ok("woken".into()));
}
