//! The checker and the interpreter, against rules told one by one and against models that are too simple to be wrong.

use super::*;
use proptest::{collection::vec, prelude::*};
use std::vec::Vec;

const ALLOW: u32 = 0x7fff_0000;

fn of(code: u16, operand: u32) -> Instruction {
    Instruction { code, operand, ..Instruction::default() }
}

fn jump(code: u16, operand: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, yes, no, operand }
}

fn accepts(instructions: &[Instruction]) -> bool {
    match Program::new(instructions.to_vec()) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, Errno::EINVAL);
            false
        }
    }
}

fn result(instructions: &[Instruction]) -> u32 {
    let facts = core::array::from_fn(|index| index as u32 * 100);
    Program::new(instructions.to_vec()).unwrap().run(&facts)
}

#[test]
fn programs_have_a_length_and_end_with_a_return() {
    assert!(!accepts(&[]));
    assert!(accepts(&[of(0x06, ALLOW)]));
    assert!(!accepts(&[of(0x00, 1)]), "no return at the end");
    assert!(!accepts(&[of(0x06, 0), of(0x07, 0)]));
    let mut long = std::vec![of(0x00, 0); LONGEST - 1];
    long.push(of(0x16, 0));
    assert!(accepts(&long));
    long.insert(0, of(0x00, 0));
    assert!(!accepts(&long));
}

#[test]
fn what_the_packet_filter_has_and_seccomp_has_not_is_refused() {
    // Half words and bytes, indirect and header loads, the remainder, ancillary data, and what nobody has.
    for code in [0x28, 0x30, 0x40, 0x48, 0x50, 0xb1, 0x94, 0x9c, 0x21, 0x0e, 0x8c, 0x0d, 0x55, 0x100, 0xffff] {
        assert!(!accepts(&[of(code, 0), of(0x06, 0)]), "{code:#x}");
    }
    assert!(!accepts(&[of(0x20, 0xffff_f000), of(0x06, 0)]), "ancillary data");
}

#[test]
fn facts_are_read_by_whole_words_within_the_structure() {
    assert!(accepts(&[of(0x20, 60), of(0x16, 0)]));
    for operand in [1, 2, 62, 64, u32::MAX] {
        assert!(!accepts(&[of(0x20, operand), of(0x16, 0)]), "{operand}");
    }
    assert_eq!(result(&[of(0x20, 12), of(0x16, 0)]), 300);
    assert_eq!(result(&[of(0x80, 0), of(0x16, 0)]), 64);
    assert_eq!(result(&[of(0x81, 0), of(0x87, 0), of(0x16, 0)]), 64);
}

#[test]
fn divisions_and_shifts_by_a_constant_make_sense() {
    assert!(!accepts(&[of(0x34, 0), of(0x16, 0)]));
    assert!(accepts(&[of(0x34, 1), of(0x16, 0)]));
    for code in [0x64, 0x74] {
        assert!(accepts(&[of(code, 31), of(0x16, 0)]));
        assert!(!accepts(&[of(code, 32), of(0x16, 0)]));
    }
    assert_eq!(result(&[of(0x00, 7), of(0x01, 0), of(0x3c, 0), of(0x06, 9)]), 0, "a division by the index register 0");
    assert_eq!(result(&[of(0x00, 1), of(0x01, 33), of(0x6c, 0), of(0x16, 0)]), 2, "a shift by 33");
    assert_eq!(result(&[of(0x00, 1), of(0x84, 0), of(0x16, 0)]), u32::MAX);
}

#[test]
fn jumps_go_forwards_to_an_instruction() {
    assert!(accepts(&[of(0x05, 0), of(0x06, 0)]));
    assert!(!accepts(&[of(0x05, 1), of(0x06, 0)]));
    assert!(!accepts(&[of(0x05, u32::MAX), of(0x06, 0)]), "backwards");
    assert!(accepts(&[jump(0x15, 0, 1, 0), of(0x06, 1), of(0x06, 2)]));
    assert!(!accepts(&[jump(0x15, 0, 2, 0), of(0x06, 1), of(0x06, 2)]));
    assert!(!accepts(&[jump(0x15, 0, 0, 2), of(0x06, 1), of(0x06, 2)]));
    assert_eq!(result(&[jump(0x15, 0, 1, 0), of(0x06, 1), of(0x06, 2)]), 2);
    assert_eq!(result(&[jump(0x25, 0, 1, 0), of(0x06, 1), of(0x06, 2)]), 1);
    assert_eq!(result(&[of(0x00, 6), jump(0x45, 4, 1, 0), of(0x06, 1), of(0x06, 2)]), 2);
}

#[test]
fn memory_is_read_only_where_it_was_written_on_every_way() {
    assert!(!accepts(&[of(0x60, 0), of(0x16, 0)]));
    assert!(!accepts(&[of(0x02, 16), of(0x16, 0)]));
    assert!(accepts(&[of(0x02, 15), of(0x60, 15), of(0x16, 0)]));
    let one_way = [jump(0x15, 0, 1, 0), of(0x02, 3), of(0x60, 3), of(0x16, 0)];
    assert!(!accepts(&one_way));
    let both_ways = [jump(0x15, 0, 0, 2), of(0x02, 3), of(0x05, 1), of(0x03, 3), of(0x61, 3), of(0x16, 0)];
    assert!(accepts(&both_ways));
    assert!(accepts(&[of(0x06, 0), of(0x02, 1), of(0x60, 1), of(0x16, 0)]), "nobody comes there");
}

#[test]
fn instructions_are_kept_to_the_byte() {
    let bytes = [0x15, 0x00, 3, 4, 0x78, 0x56, 0x34, 0x12];
    let instruction = Instruction::from_bytes(bytes);
    assert_eq!(instruction, jump(0x15, 0x1234_5678, 3, 4));
    assert_eq!(instruction.to_bytes(), bytes);
}

/// The same, by what the manual of the packet filter says of each class of codes, with numbers that can't overflow.
fn model(instructions: &[Instruction], facts: &Facts) -> u32 {
    let (mut a, mut x, mut m) = (0u64, 0u64, [0u64; 16]);
    let mut at = 0;
    loop {
        let Instruction { code, yes, no, operand } = instructions[at];
        let k = u64::from(operand);
        let other = if code & 8 != 0 { x } else { k };
        at += 1;
        match (code & 7, code & 0xe0, code & 0xf0) {
            (0, 0x20, _) => a = facts[operand as usize / 4].into(),
            (0, 0x00, _) => a = k,
            (0, 0x60, _) => a = m[operand as usize],
            (0, _, _) => a = 64,
            (1, 0x00, _) => x = k,
            (1, 0x60, _) => x = m[operand as usize],
            (1, _, _) => x = 64,
            (2, ..) => m[operand as usize] = a,
            (3, ..) => m[operand as usize] = x,
            (4, _, 0x30) if other == 0 => return 0,
            (4, _, operation) => {
                a = match operation {
                    0x00 => a + other,
                    0x10 => a + (1 << 32) - other,
                    0x20 => a * other,
                    0x30 => a / other,
                    0x40 => a | other,
                    0x50 => a & other,
                    0x60 => a << (other % 32),
                    0x70 => a >> (other % 32),
                    0x80 => (1 << 32) - a,
                    _ => a ^ other,
                } % (1 << 32);
            }
            (5, _, 0x00) => at += operand as usize,
            (5, _, test) => {
                let holds = match test {
                    0x10 => a == other,
                    0x20 => a > other,
                    0x30 => a >= other,
                    _ => a & other != 0,
                };
                at += usize::from(if holds { yes } else { no });
            }
            (6, ..) => return if code == 0x16 { a as u32 } else { operand },
            _ if code == 0x07 => x = a,
            _ => a = x,
        }
    }
}

/// Whether some way from `at` reads memory that was not written on it.
fn reads_unwritten(instructions: &[Instruction], at: usize, written: u32) -> bool {
    let Instruction { code, yes, no, operand } = instructions[at];
    let on = |skipped: usize, written: u32| reads_unwritten(instructions, at + 1 + skipped, written);
    match code {
        0x06 | 0x16 => false,
        0x60 | 0x61 if written >> operand & 1 == 0 => true,
        0x02 | 0x03 => on(0, written | 1 << operand),
        0x05 => on(operand as usize, written),
        _ if code & 7 == 5 => on(yes.into(), written) || on(no.into(), written),
        _ => on(0, written),
    }
}

const CODES: [u16; 39] = [
    0x20, 0x80, 0x00, 0x60, 0x81, 0x01, 0x61, 0x02, 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x3c, 0x44, 0x4c,
    0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0xa4, 0xac, 0x84, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x07,
    0x87,
];

/// An instruction that is likely to be accepted.
fn likely() -> impl Strategy<Value = Instruction> {
    let operand = prop_oneof![0u32..4, (0u32..16).prop_map(|word| word * 4), any::<u32>()];
    (prop::sample::select(&CODES[..]), 0u8..4, 0u8..4, operand).prop_map(|(code, yes, no, operand)| {
        let operand = match code & 0x67 {
            _ if code == 0x05 => operand % 4,
            _ if code & 7 == 2 || code & 7 == 3 || code == 0x60 || code == 0x61 => operand % 16,
            _ if code == 0x64 || code == 0x74 => operand % 32,
            _ if code == 0x20 => operand % 16 * 4,
            _ => operand,
        };
        Instruction { code, yes, no, operand }
    })
}

proptest! {
    #[test]
    fn whatever_is_accepted_computes_what_the_model_computes(
        start in vec(likely(), 0..24), facts: [u32; 16], value: u32,
    ) {
        let mut all = start;
        all.extend([of(0x16, 0), of(0x06, value), of(0x06, value), of(0x06, value), of(0x16, 0)]);
        if let Ok(program) = Program::new(all.clone()) {
            prop_assert_eq!(program.run(&facts), model(&all, &facts));
        }
    }

    #[test]
    fn memory_is_judged_as_by_going_all_ways(start in vec(likely(), 0..12)) {
        let mut all = start;
        all.extend([of(0x16, 0), of(0x06, 1), of(0x06, 2), of(0x06, 3), of(0x16, 0)]);
        prop_assume!(!all.iter().any(|one| one.code == 0x34 && one.operand == 0));
        prop_assert_eq!(accepts(&all), !reads_unwritten(&all, 0, 0));
    }

    #[test]
    fn any_bytes_are_refused_or_run_to_an_end(bytes in vec(any::<[u8; 8]>(), 1..64), facts: [u32; 16]) {
        let all: Vec<Instruction> = bytes.into_iter().map(Instruction::from_bytes).collect();
        if let Ok(program) = Program::new(all) {
            program.run(&facts);
        }
    }
}
