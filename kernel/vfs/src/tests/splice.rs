//! Bytes that move between pipes and files.

use super::*;
use crate::{
    pipe,
    splice::{drain, splice, tee},
    testing::{start_frames, with_caller},
};
use std::{thread, vec};

fn new_pipe(flags: OpenFlags) -> [Arc<OpenFile>; 2] {
    start_frames();
    pipe::pipe(flags, &Arc::new(Credentials::root())).unwrap()
}

fn text(file: &OpenFile) -> Result<String, Errno> {
    let mut buffer = [0; 100];
    let count = file.read(&mut buffer)?;
    Ok(String::from_utf8(buffer[..count].to_vec()).unwrap())
}

#[test]
fn what_finds_no_place_stays_at_the_front() {
    let [reader, writer] = new_pipe(OpenFlags::NONBLOCK);
    writer.write(b"abcdef").unwrap();
    assert_eq!(drain(&reader, 5, true, |bytes, _| Ok(bytes.len() - 3)), Ok(2));
    assert_eq!(drain(&reader, 5, true, |_, _| Err(Errno::EIO)), Err(Errno::EIO));
    assert_eq!(text(&reader), Ok("cdef".into()));
}

#[test]
fn nobody_reads_what_may_come_back() {
    let [reader, writer] = new_pipe(OpenFlags::NONBLOCK);
    writer.write(b"first").unwrap();
    let moved = drain(&reader, 100, true, |bytes, _| {
        writer.write(b" second").unwrap();
        assert_eq!(text(&reader), Err(Errno::EAGAIN));
        Ok(bytes.len() - 1)
    });
    assert_eq!(moved, Ok(4));
    assert_eq!(text(&reader), Ok("t second".into()));
}

#[test]
fn room_is_kept_for_what_may_come_back() {
    let [reader, writer] = new_pipe(OpenFlags::NONBLOCK);
    let root = Arc::new(Credentials::root());
    pipe::set_capacity(&writer, 4096, &root).unwrap();
    writer.write(&[1; 4096]).unwrap();
    let moved = drain(&reader, 4096, true, |_, _| {
        assert_eq!(writer.write(b"x"), Err(Errno::EAGAIN));
        Ok(96)
    });
    assert_eq!(moved, Ok(96));
    assert_eq!(writer.write(&[2; 97]), Err(Errno::EAGAIN));
    assert_eq!(writer.write(&[2; 96]), Ok(96));
    assert_eq!(reader.read(&mut vec![0; 5000]), Ok(4096));
}

#[test]
fn a_file_goes_into_a_pipe_and_out_again() {
    with_caller(|caller| {
        let bytes: Vec<u8> = (0..100_000u32).map(|number| (number * 7) as u8).collect();
        write(caller, "/from", &bytes);
        let from = open(caller, "/from", OpenFlags::empty()).unwrap();
        let to = open(caller, "/to", OpenFlags::READ_WRITE | OpenFlags::CREATE).unwrap();
        let [reader, writer] = new_pipe(OpenFlags::empty());
        assert_eq!(splice(&from, None, &writer, None, 200_000, false), Ok(65_536));
        assert_eq!(splice(&from, None, &writer, None, 1, true), Err(Errno::EAGAIN));
        assert_eq!(splice(&reader, None, &to, None, 200_000, false), Ok(65_536));
        assert_eq!(splice(&from, None, &writer, None, 200_000, false), Ok(34_464));
        assert_eq!(splice(&from, None, &writer, None, 200_000, false), Ok(0));
        assert_eq!(splice(&reader, None, &to, None, 34_464, false), Ok(34_464));
        let mut copy = vec![0; 200_000];
        assert_eq!(to.read_at(&mut copy, 0), Ok(100_000));
        assert!(copy[..100_000] == bytes);
        assert_eq!(splice(&from, Some(99_990), &writer, None, 100, false), Ok(10));
        assert_eq!(splice(&reader, None, &to, Some(5), 100, false), Ok(10));
        assert_eq!((from.position(), to.position()), (100_000, 100_000));
    });
}

#[test]
fn tee_leaves_what_it_copies() {
    let ([reader, writer], [second, target]) = (new_pipe(OpenFlags::NONBLOCK), new_pipe(OpenFlags::NONBLOCK));
    assert_eq!(tee(&reader, &target, 9, false), Err(Errno::EAGAIN));
    writer.write(b"both").unwrap();
    assert_eq!(tee(&reader, &target, 3, false), Ok(3));
    assert_eq!((text(&second), text(&reader)), (Ok("bot".into()), Ok("both".into())));
    drop(writer);
    assert_eq!(tee(&reader, &target, 9, false), Ok(0));
    assert_eq!(tee(&second, &target, 9, false), Err(Errno::EINVAL));
    drop(second);
    let [reader, writer] = new_pipe(OpenFlags::NONBLOCK);
    writer.write(b"x").unwrap();
    assert_eq!(tee(&reader, &target, 9, false), Err(Errno::EPIPE));
    assert_eq!(splice(&reader, None, &target, None, 9, false), Err(Errno::EPIPE));
    assert_eq!(text(&reader), Ok("x".into()));
}

#[test]
fn packets_that_go_elsewhere_leave_the_others_whole() {
    let [reader, writer] = new_pipe(OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    for packet in ["one", "two", "three"] {
        writer.write(packet.as_bytes()).unwrap();
    }
    assert_eq!(drain(&reader, 4, true, |bytes, _| Ok(bytes.len())), Ok(4));
    assert_eq!([text(&reader), text(&reader)], [Ok("wo".into()), Ok("three".into())]);
}

#[test]
fn a_chain_of_pipes_loses_nothing() {
    let ([reader, writer], [last, middle]) = (new_pipe(OpenFlags::empty()), new_pipe(OpenFlags::empty()));
    let root = Arc::new(Credentials::root());
    pipe::set_capacity(&middle, 4096, &root).unwrap();
    let bytes: Vec<u8> = (0..150_000u32).map(|number| (number * 13) as u8).collect();
    let sent = bytes.clone();
    let sender = thread::spawn(move || writer.write(&sent).unwrap());
    let mover = thread::spawn(move || while splice(&reader, None, &middle, None, 10_000, false).unwrap() > 0 {});
    let (mut received, mut buffer) = (Vec::new(), [0; 777]);
    loop {
        match last.read(&mut buffer).unwrap() {
            0 => break,
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
    sender.join().unwrap();
    mover.join().unwrap();
    assert!(received == bytes);
}

#[test]
fn a_packet_takes_the_place_of_a_page() {
    let [reader, writer] = new_pipe(OpenFlags::NONBLOCK | OpenFlags::DIRECT);
    let root = Arc::new(Credentials::root());
    pipe::set_capacity(&writer, 8 << 12, &root).unwrap();
    let fill = || core::iter::repeat_with(|| writer.write(b"x")).take_while(|result| *result == Ok(1)).count();
    assert_eq!(fill(), 8);
    assert_eq!(writer.write(b"x"), Err(Errno::EAGAIN));
    assert_eq!(text(&reader), Ok("x".into()));
    assert_eq!(fill(), 1);
}
