//! The line discipline, key by key.

use super::*;
use proptest::prelude::*;
use std::string::String;

fn typed(discipline: &mut Discipline, bytes: &[u8]) -> Reaction {
    let mut reaction = Reaction::default();
    discipline.feed(bytes, &mut reaction);
    reaction
}

fn line(discipline: &mut Discipline) -> String {
    let mut buffer = [0; 100];
    let count = discipline.read(&mut buffer);
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

fn without(flags: u32) -> Discipline {
    let mut discipline = Discipline::default();
    let termios = Termios { local: Termios::default().local & !flags, ..Termios::default() };
    discipline.set_termios(termios);
    discipline
}

#[test]
fn a_line_can_be_read_when_it_has_ended() {
    let mut discipline = Discipline::default();
    let reaction = typed(&mut discipline, b"echo hi");
    assert!(!reaction.readable && !discipline.is_ready(1));
    assert_eq!(reaction.echo, b"echo hi");
    assert_eq!(typed(&mut discipline, b"\rnext").echo, b"\nnext");
    assert_eq!(line(&mut discipline), "echo hi\n");
    assert!(!discipline.is_ready(1));
}

#[test]
fn one_read_gives_one_line() {
    let mut discipline = Discipline::default();
    typed(&mut discipline, b"a\nb\n");
    assert_eq!((line(&mut discipline), line(&mut discipline)), ("a\n".into(), "b\n".into()));
}

#[test]
fn erase_word_and_kill_edit_the_line_and_the_screen() {
    let mut discipline = Discipline::default();
    assert_eq!(typed(&mut discipline, b"ab\x7f").echo, b"ab\x08 \x08");
    assert_eq!(typed(&mut discipline, b" word\x17").echo, b" word\x08 \x08\x08 \x08\x08 \x08\x08 \x08");
    typed(&mut discipline, b"c\n");
    assert_eq!(line(&mut discipline), "a c\n");
    typed(&mut discipline, b"gone\x15kept\n");
    assert_eq!(line(&mut discipline), "kept\n");
}

#[test]
fn end_of_file_ends_a_line_without_a_byte() {
    let mut discipline = Discipline::default();
    typed(&mut discipline, b"\x04");
    assert!(discipline.is_ready(1));
    assert_eq!(line(&mut discipline), "");
    assert!(!discipline.is_ready(1));
    typed(&mut discipline, b"ab\x04");
    assert_eq!(line(&mut discipline), "ab");
}

#[test]
fn keys_send_signals_and_drop_the_line() {
    let mut discipline = Discipline::default();
    let reaction = typed(&mut discipline, b"abc\x03\x1a\x1c");
    assert_eq!(reaction.signals, [KeySignal::Interrupt, KeySignal::Suspend, KeySignal::Quit]);
    assert_eq!(reaction.echo, b"abc^C^Z^\\");
    typed(&mut discipline, b"x\n");
    assert_eq!(line(&mut discipline), "x\n");
}

#[test]
fn a_literal_key_means_itself() {
    let mut discipline = Discipline::default();
    assert!(typed(&mut discipline, b"\x16\x03\n").signals.is_empty());
    assert_eq!(line(&mut discipline), "\x03\n");
}

#[test]
fn raw_bytes_pass_unchanged() {
    let mut discipline = without(local::ICANON | local::ECHO | local::ISIG | local::IEXTEN);
    discipline.set_termios(Termios { input: 0, ..*discipline.termios() });
    let reaction = typed(&mut discipline, b"\x03\r\x13\x7f");
    assert!(reaction.readable && reaction.echo.is_empty() && reaction.signals.is_empty());
    assert!(discipline.is_ready(4) && !discipline.is_ready(5));
    assert_eq!(line(&mut discipline), "\x03\r\x13\x7f");
}

#[test]
fn what_is_half_typed_is_readable_when_lines_stop_to_matter() {
    let mut discipline = Discipline::default();
    typed(&mut discipline, b"half");
    discipline.set_termios(*without(local::ICANON).termios());
    assert_eq!(line(&mut discipline), "half");
}

#[test]
fn stop_and_start_hold_the_output() {
    let mut discipline = Discipline::default();
    typed(&mut discipline, b"\x13");
    assert!(discipline.is_stopped());
    typed(&mut discipline, b"\x11");
    assert!(!discipline.is_stopped());
}

/// A discipline with these flags of input and these local flags besides the usual ones.
fn with(input: u32, local: u32) -> Discipline {
    let usual = Termios::default();
    let mut discipline = Discipline::default();
    discipline.set_termios(Termios { input: usual.input | input, local: usual.local | local, ..usual });
    discipline
}

#[test]
fn only_a_program_lets_go_on_what_a_program_holds() {
    let mut discipline = with(input::IXANY, 0);
    typed(&mut discipline, b"\x13x");
    assert!(!discipline.is_stopped());
    discipline.hold(true);
    typed(&mut discipline, b"\x11x");
    assert!(discipline.is_stopped());
    discipline.hold(false);
    assert!(!discipline.is_stopped());
    typed(&mut discipline, b"\x13");
    discipline.hold(false);
    assert!(discipline.is_stopped());
}

#[test]
fn reprinting_shows_nothing_that_echo_did_not() {
    assert_eq!(typed(&mut Discipline::default(), b"ab\x12").echo, b"ab^R\nab");
    let mut secret = without(local::ECHO);
    assert_eq!(typed(&mut secret, b"ab\x12\n").echo, b"");
    assert_eq!(line(&mut secret), "ab\x12\n");
}

#[test]
fn keys_that_erase_show_themselves_without_echoe() {
    let mut discipline = without(local::ECHOE);
    assert_eq!(typed(&mut discipline, b"\x7f\x15ab\x7f\x15").echo, b"ab^?^U\n");
    typed(&mut discipline, b"c\n");
    assert_eq!(line(&mut discipline), "c\n");
}

#[test]
fn a_printer_shows_what_is_erased_between_slashes() {
    let mut discipline = with(input::IUTF8, local::ECHOPRT);
    let keys = "ab\u{e4}\x7f\x7fc".as_bytes();
    assert_eq!(typed(&mut discipline, keys).echo, "ab\u{e4}\\\u{e4}b/c".as_bytes());
    typed(&mut discipline, b"\n");
    assert_eq!(line(&mut discipline), "ac\n");
}

#[test]
fn tabs_and_control_characters_are_erased_by_their_width() {
    let erased = |keys: &[u8]| {
        let mut discipline = Discipline::default();
        typed(&mut discipline, keys);
        typed(&mut discipline, b"\x7f").echo
    };
    assert_eq!(erased(b"ab\t"), b"\x08\x08\x08\x08\x08\x08");
    assert_eq!(erased(b"a\x16\x03"), b"\x08 \x08\x08 \x08");
}

#[test]
fn bytes_are_mapped_on_their_way_in() {
    let read = |input: u32, keys: &[u8]| {
        let mut discipline = with(input, 0);
        typed(&mut discipline, keys);
        let mut buffer = [0; 20];
        let count = discipline.read(&mut buffer);
        buffer[..count].to_vec()
    };
    assert_eq!(read(input::IUCLC, b"aBC\n"), b"abc\n");
    assert_eq!(read(input::PARMRK, b"a\xff\n"), b"a\xff\xff\n");
    assert_eq!(read(input::ISTRIP | input::PARMRK, b"a\xff\x7f\xe1\n"), b"a\n");
    assert_eq!(read(input::INLCR | input::IGNCR, b"\ra\nb\x04"), b"a\rb");
}

#[test]
fn lines_that_the_other_side_edits_pass_unchanged() {
    let mut discipline = with(0, local::EXTPROC);
    let reaction = typed(&mut discipline, b"a\x7f\x03\r");
    assert!(reaction.readable && reaction.echo.is_empty() && reaction.signals.is_empty());
    assert_eq!(line(&mut discipline), "a\x7f\x03\r");
}

#[test]
fn what_can_be_read_counts_all_lines() {
    let mut discipline = Discipline::default();
    typed(&mut discipline, b"ab\nc\nd");
    assert_eq!(discipline.readable(), 5);
}

#[test]
fn a_signal_drops_what_is_on_its_way_unless_told_otherwise() {
    assert!(typed(&mut Discipline::default(), b"a\x03").flushed);
    let mut discipline = with(0, local::NOFLSH);
    assert!(!typed(&mut discipline, b"a\x03").flushed);
    typed(&mut discipline, b"b\n");
    assert_eq!(line(&mut discipline), "ab\n");
}

proptest! {
    #[test]
    fn any_keys_leave_the_books_right(keys: Vec<u8>, raw: bool, switch in 0..200usize) {
        let mut discipline = if raw { without(local::ICANON) } else { Discipline::default() };
        for (index, key) in keys.iter().enumerate() {
            typed(&mut discipline, &[*key]);
            if index == switch {
                let local = discipline.termios().local ^ local::ICANON;
                discipline.set_termios(Termios { local, ..*discipline.termios() });
            }
            if discipline.termios().has_local(local::ICANON) {
                prop_assert_eq!(discipline.lines.iter().sum::<usize>(), discipline.ready.len());
            } else {
                prop_assert!(discipline.lines.is_empty() && discipline.edit.is_empty());
            }
        }
    }
}
