//! Rights, forms and places. The log is one for the whole test program, so each test looks for its own words.

use super::{text::program_record, *};
use machine::log::Priority;
use std::{
    string::String,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Tests that count on what is in the log take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn user() -> Credentials {
    Credentials { effective: Capabilities::empty(), ..Credentials::root() }
}

fn collect(log: &KernelLog, room: usize, clear: bool) -> String {
    let mut all = Vec::new();
    let put = &mut |before: usize, text: &[u8]| {
        assert_eq!(before, all.len());
        all.extend_from_slice(text);
        Ok(())
    };
    let count = log.read_all(room, clear, put).unwrap();
    assert!(count == all.len() && count <= room);
    String::from_utf8(all).unwrap()
}

#[test]
fn everybody_may_look_until_that_is_restricted() {
    let log = KernelLog::new();
    assert_eq!(log.check(LogUse::Look, &user()), Ok(()));
    assert_eq!(log.check(LogUse::Change, &user()), Err(Errno::EPERM));
    log.set_restricted(true);
    assert_eq!(log.check(LogUse::Look, &user()), Err(Errno::EPERM));
    for right in [Capabilities::SYSLOG, Capabilities::SYS_ADMIN] {
        let who = Credentials { effective: right, ..user() };
        assert_eq!(log.check(LogUse::Change, &who), Ok(()));
    }
}

#[test]
fn a_number_in_front_is_a_priority_only_if_it_is_whole() {
    let of = |text: &'static str| {
        let (priority, text) = program_record(text.as_bytes(), 4);
        (priority.number(), core::str::from_utf8(text).unwrap())
    };
    assert_eq!(of("hello"), (12, "hello"));
    assert_eq!(of("<3>hello"), (11, "hello"));
    assert_eq!(of("<30>hello"), (30, "hello"));
    assert_eq!(of("<x>hello"), (12, "<x>hello"));
    assert_eq!(of("<3hello"), (12, "<3hello"));
    assert_eq!(of("<>hello"), (8, "hello"));
}

#[test]
fn all_is_what_came_since_it_was_cleared_and_the_newest_of_it() {
    let _turn = alone();
    let log = KernelLog::new();
    log.clear();
    log::write_bytes(Priority::of_program(5), b"kernel_log: one\nand a half");
    log::write_bytes(Priority::of_program(6), b"kernel_log: two");
    let all = collect(&log, 1 << 20, false);
    let lines: Vec<&str> = all.lines().filter_map(|line| line.split_once("] ").map(|(_, text)| text)).collect();
    assert!(lines.ends_with(&["kernel_log: one", "and a half", "kernel_log: two"]), "{all}");
    assert!(all.lines().all(|line| line.starts_with('<')), "{all}");
    let last = all.lines().last().unwrap();
    assert!(last.starts_with("<14>["));
    assert_eq!(collect(&log, last.len() + 1, true), std::format!("{last}\n"));
    assert_eq!(collect(&log, last.len(), false), "");
}

#[test]
fn a_text_that_does_not_fit_is_consumed_in_parts() {
    let _turn = alone();
    let log = KernelLog::new();
    log.unread.lock().next = log::end();
    log::write_bytes(Priority::of_program(5), b"kernel_log: parts");
    log::write_bytes(Priority::of_program(5), b"kernel_log: whole");
    let waiting = log.unread_bytes();
    let mut consumed = Vec::new();
    let mut consume = |room| {
        let put = &mut |_: usize, text: &[u8]| {
            consumed.extend_from_slice(text);
            Ok(())
        };
        log.consume(room, put).unwrap()
    };
    assert_eq!(consume(7), 7);
    assert_eq!(log.unread_bytes(), waiting - 7);
    assert_eq!(consume(1000), waiting - 7);
    assert_eq!(log.unread_bytes(), 0);
    let text = String::from_utf8(consumed).unwrap();
    assert!(text.ends_with("] kernel_log: whole\n") && text.contains("] kernel_log: parts\n<13>["), "{text}");
}

#[test]
fn a_reader_gets_one_record_at_a_time_and_hears_what_it_missed() {
    let _turn = alone();
    let reader = LogReader::new();
    reader.to_end();
    assert_eq!(reader.read(false), Err(Errno::EAGAIN));
    log::write_bytes(Priority::of_program(5), b"kernel_log: a\\b\n\xc3\xa4");
    let line = String::from_utf8(reader.read(false).unwrap()).unwrap();
    let (head, text) = line.split_once(';').unwrap();
    assert!(head.starts_with("13,") && head.ends_with(",-"), "{head}");
    assert_eq!(text, "kernel_log: a\\x5cb\\x0a\\xc3\\xa4\n");
    (0..300).for_each(|_| log::write_bytes(Priority::of_program(7), &[b'x'; log::LONGEST]));
    assert_eq!(reader.state(|_| {}), LogState::Overrun);
    assert_eq!(reader.read(false), Err(Errno::EPIPE));
    assert!(reader.read(false).is_ok());
}

#[test]
fn the_console_comes_back_at_the_level_that_it_had() {
    let _turn = alone();
    let log = KernelLog::new();
    assert_eq!(log.set_console_level(0), Err(Errno::EINVAL));
    assert_eq!(log.set_console_level(9), Err(Errno::EINVAL));
    assert_eq!(log.set_console_level(5), Ok(()));
    log.console_off();
    log.console_off();
    assert_eq!(log.levels(), [1, 4, 1, 7]);
    log.console_on();
    assert_eq!(log.levels(), [5, 4, 1, 7]);
    log.console_on();
    log.set_levels([7, 4, 3, 7]);
    assert_eq!(log.set_console_level(2), Ok(()));
    assert_eq!(log.levels(), [3, 4, 3, 7]);
    log.set_levels([7, 4, 1, 7]);
}
