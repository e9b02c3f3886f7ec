//! Tests of local sockets.

use super::*;
use crate::testing;
use base::{Gid, Pid, Uid};
use std::{string::String, thread, vec};

/// The size of a new socket's buffer.
const CAPACITY: usize = 212_992;

fn me() -> Peer {
    Peer { pid: Pid::new(7), credentials: Arc::new(Credentials::root()) }
}

fn take(file: &OpenFile, buffer: &mut [u8]) -> Received {
    of(file).receive(buffer, Receive { nonblock: true, ..Receive::default() }).unwrap()
}

fn ends(kind: SocketType) -> [Arc<OpenFile>; 2] {
    pair(kind, OpenFlags::NONBLOCK, &Arc::new(Credentials::root()), me()).unwrap()
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
    of(&one).shutdown(Shutdown::Write);
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
        let files = vec![passed[0].clone()];
        of(&one).send(&caller, Message { bytes: b"with", files, ..Message::default() }, true).unwrap();
        one.write(b"after").unwrap();
        let mut buffer = [0; 100];
        assert_eq!(text(&two, 3), Ok("bef".into()));
        // Files end what is received at once, but bytes before them belong to it, see unix(7).
        let second = take(&two, &mut buffer);
        assert_eq!((&buffer[..second.length], second.files.len()), (&b"orewith"[..], 1));
        let third = take(&two, &mut buffer);
        assert_eq!((&buffer[..third.length], third.files.len()), (&b"after"[..], 0));
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
            assert_eq!(of(&listener).listen(1, me()), Err(Errno::EINVAL));
            of(&listener).bind(&caller, &address).unwrap();
            assert_eq!(of(&new()).bind(&caller, &address), Err(Errno::EADDRINUSE));
            assert_eq!(of(&client).connect(&caller, &address, true, me()), Err(Errno::ECONNREFUSED));
            of(&listener).listen(1, me()).unwrap();
            assert!(of(&listener).accept(true, OpenFlags::empty()).is_err_and(|error| error == Errno::EAGAIN));
            of(&client).connect(&caller, &address, true, me()).unwrap();
            assert!(ready(&listener).contains(PollEvents::IN));
            client.write(b"hello").unwrap();
            let server = of(&listener).accept(true, OpenFlags::NONBLOCK).unwrap();
            assert_eq!(text(&server, 10), Ok("hello".into()));
            assert_eq!(of(&client).peer_name(), Ok(address.clone()));
            assert_eq!(of(&server).name(), address);
            assert_eq!(of(&server).peer().map(|peer| peer.pid), Some(me().pid));
            assert_eq!(of(&client).connect(&caller, &address, true, me()), Err(Errno::EISCONN));
            drop(listener);
            assert_eq!(of(&new()).connect(&caller, &address, true, me()), Err(Errno::ECONNREFUSED));
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
        assert_eq!(one.write(b"x"), Err(Errno::ENOTCONN));
        let message = Message { bytes: b"to two", to: Some(&names[1]), ..Message::default() };
        of(&one).send(&caller, message, true).unwrap();
        let mut buffer = [0; 3];
        let received = take(&two, &mut buffer);
        assert_eq!((received.length, received.full_length, received.from), (3, 6, Some(names[0].clone())));
        of(&two).connect(&caller, &names[0], true, me()).unwrap();
        assert_eq!(two.write(b"back"), Ok(4));
        drop(one);
        assert_eq!(two.write(b"nobody"), Err(Errno::ECONNREFUSED));
    });
}

#[test]
fn a_reader_sleeps_until_something_is_sent() {
    let [one, two] = pair(SocketType::Stream, OpenFlags::empty(), &Arc::new(Credentials::root()), me()).unwrap();
    let reader = thread::spawn(move || text(&two, 10));
    one.write(b"woken").unwrap();
    assert_eq!(reader.join().unwrap(), Ok("woken".into()));
}

fn peek(file: &OpenFile, size: usize) -> Result<String, Errno> {
    let mut buffer = vec![0; size];
    let how = Receive { peek: true, nonblock: true, ..Receive::default() };
    let received = of(file).receive(&mut buffer, how)?;
    Ok(String::from_utf8_lossy(&buffer[..received.length]).into_owned())
}

#[test]
fn a_peek_goes_on_where_the_last_one_ended() {
    for kind in [SocketType::Stream, SocketType::Datagram] {
        let [one, two] = ends(kind);
        one.write(b"abcd").unwrap();
        one.write(b"efgh").unwrap();
        assert_eq!([peek(&two, 2), peek(&two, 2)], [Ok("ab".into()), Ok("ab".into())]);
        of(&two).set_peek_offset(0);
        assert_eq!([peek(&two, 3), peek(&two, 1), peek(&two, 3)].map(Result::unwrap), ["abc", "d", "efg"]);
        assert_eq!(text(&two, 4), Ok("abcd".into()));
        assert_eq!((of(&two).peek_offset(), peek(&two, 9)), (3, Ok("h".into())));
        assert_eq!(peek(&two, 9), Err(Errno::EAGAIN));
        assert_eq!(text(&two, 9), Ok("efgh".into()));
    }
}

#[test]
fn bytes_of_different_senders_are_not_joined() {
    testing::with_caller(|caller| {
        let [one, two] = ends(SocketType::Stream);
        of(&two).set_passes_credentials(true);
        let by = |uid: u32| Some(Sender { pid: Pid::new(9), uid: Uid::new(uid), gid: Gid::ROOT });
        for (bytes, uid) in [(b"a", 1), (b"b", 1), (b"c", 2)] {
            of(&one).send(&caller, Message { bytes, sender: by(uid), ..Message::default() }, true).unwrap();
        }
        let mut buffer = [0; 9];
        let first = take(&two, &mut buffer);
        assert_eq!((first.length, first.sender), (2, by(1)));
        let second = take(&two, &mut buffer);
        assert_eq!((second.length, second.sender), (1, by(2)));
    });
}

#[test]
fn a_receiver_of_the_whole_waits_for_it() {
    let [one, two] = pair(SocketType::Stream, OpenFlags::empty(), &Arc::new(Credentials::root()), me()).unwrap();
    let reader = thread::spawn(move || {
        let mut buffer = [0; 6];
        let how = Receive { whole: true, ..Receive::default() };
        let first = of(&two).receive(&mut buffer, how).unwrap().length;
        let second = of(&two).receive(&mut buffer, how).unwrap().length;
        (first, second)
    });
    for part in ["ab", "cd", "ef", "gh"] {
        one.write(part.as_bytes()).unwrap();
    }
    drop(one);
    assert_eq!(reader.join().unwrap(), (6, 2));
}

#[test]
fn a_small_buffer_holds_less_and_a_timeout_ends_a_wait() {
    let [one, two] = pair(SocketType::Stream, OpenFlags::empty(), &Arc::new(Credentials::root()), me()).unwrap();
    of(&one).set_send_buffer(1, false);
    assert_eq!(of(&one).send_buffer(), 4608);
    of(&one).set_send_timeout(Some(1_000_000));
    assert_eq!(one.write(&[7; 5000]), Ok(4608));
    assert_eq!(one.write(b"x"), Err(Errno::EAGAIN));
    of(&two).set_receive_timeout(Some(0));
    assert_eq!(two.read(&mut [0; 5000]), Ok(4608));
    assert_eq!(two.read(&mut [0; 5000]), Err(Errno::EAGAIN));
}

#[test]
fn a_socket_without_a_name_gets_one_that_nobody_has() {
    testing::with_caller(|caller| {
        let new = || socket(SocketType::Datagram, OpenFlags::NONBLOCK, caller.credentials).unwrap();
        let (one, two) = (new(), new());
        for file in [&one, &two] {
            of(file).bind(&caller, &Address::Unnamed).unwrap();
        }
        let (first, second) = (of(&one).name(), of(&two).name());
        assert!(first != second && matches!(&first, Address::Abstract(name) if name.len() == 5));
        of(&one).bind(&caller, &Address::Unnamed).unwrap();
        assert_eq!(of(&one).name(), first);
        // Who has a peer hears nobody else.
        of(&one).connect(&caller, &second, true, me()).unwrap();
        let third = new();
        let stray = Message { bytes: b"x", to: Some(&first), ..Message::default() };
        assert_eq!(of(&third).send(&caller, stray, true), Err(Errno::EPERM));
        of(&one).disconnect().unwrap();
        let heard = Message { bytes: b"x", to: Some(&first), ..Message::default() };
        assert_eq!(of(&third).send(&caller, heard, true), Ok(1));
    });
}

#[test]
fn who_was_never_accepted_is_told_when_the_listener_goes() {
    testing::with_caller(|caller| {
        let new = || socket(SocketType::Stream, OpenFlags::NONBLOCK, caller.credentials).unwrap();
        let (listener, client) = (new(), new());
        let address = Address::Abstract(b"hurried".to_vec());
        of(&listener).bind(&caller, &address).unwrap();
        of(&listener).listen(1, me()).unwrap();
        of(&client).connect(&caller, &address, true, me()).unwrap();
        drop(listener);
        assert_eq!(text(&client, 1), Err(Errno::ECONNRESET));
        assert_eq!(text(&client, 1), Ok("".into()));
    });
}
