//! Structures with contents that get a call far: each is written as words of 64 bits.

use super::kinds::Structure;
use super::memory::{self, WORDS};
use super::values::{Place, file, pid};
use crate::choices::Choices;

/// A number of 32 bits in each half.
fn pair(low: u64, high: u64) -> u64 {
    low & 0xffff_ffff | high << 32
}

/// Fills the structure. `inner` is memory that it may point to.
pub fn fill(structure: Structure, words: &mut [u64; WORDS], inner: u64, place: &Place, choices: &mut Choices) {
    match structure {
        Structure::Time => words[..8].fill_with(|| time(choices, 1_000_000_000)),
        Structure::Microseconds => words[..8].fill_with(|| time(choices, 1_000_000)),
        Structure::Signals => words[0] = signals(choices),
        Structure::Action => {
            words[0] = choices.one_of(&[0, 1, super::worker::handler_address()]);
            words[1] = choices.one_of(&[
                0x0400_0000,
                0x0400_0004,
                0x1400_0000,
                0x4400_0000,
                0x8400_0000,
                0x0c00_0000,
                0x0400_0002,
            ]);
            words[2] = super::worker::restorer_address();
            words[3] = signals(choices);
        }
        Structure::Information => {
            words[0] = choices.below(65);
            words[1] = choices.one_of(&[-1_i64 as u64, -2_i64 as u64, 0, 1, -60_i64 as u64]);
            words[2] = pair(pid(place, choices), 1000);
        }
        Structure::Event => {
            words[0] = choices.any();
            words[1] = pair(choices.one_of(&[10, 12, 34, 64, 65, 9]), choices.one_of(&[0, 1, 2, 4, 3]));
            words[2] = pid(place, choices);
        }
        Structure::Stack => {
            words[0] = inner;
            words[1] = choices.one_of(&[0, 2, 1, 1 << 31]);
            words[2] = choices.one_of(&[4096, 2048, 100, u64::MAX]);
        }
        Structure::Vectors => vectors(&mut words[..32], inner, choices),
        Structure::Message => {
            for header in 0..2 {
                let word = &mut words[header * 8..];
                word[0] = if choices.one_in(3) { inner } else { 0 };
                word[1] = choices.below(120);
                word[2] = inner + 512;
                word[3] = choices.below(4);
                word[4] = inner + 1024;
                word[5] = choices.one_of(&[0, 16, 20, 24, 28, 64, 4096]);
            }
            memory::put(inner + 512, &[inner + 2048, choices.below(200), inner + 2300, 0, inner + 2048, 4000]);
            memory::put(inner + 1024, &control(place, choices));
        }
        Structure::Address => {
            let name: &[u8] = choices.one_of(&[&b"sock"[..], b"\0abstract", b"\0other", b"a", b"mount/sock", b""]);
            let mut bytes = [0_u8; 40];
            bytes[0] = choices.one_of(&[1, 1, 1, 2, 0]);
            bytes[2..2 + name.len()].copy_from_slice(name);
            copy(words, &bytes);
        }
        Structure::Waiters => {
            for waiter in words[..24].chunks_exact_mut(3) {
                waiter[0] = choices.one_of(&[0, 0, 0, 1, u64::MAX]);
                waiter[1] = choices.one_of(&[inner, inner + 4, inner + 2, 0]);
                waiter[2] = choices.one_of(&[2, 2, 0x82, 0, 3, pair(2, 1)]);
            }
        }
        Structure::Robust => {
            // Two entries that lead to each other, with words that this thread holds, and one that is being taken.
            let owner = place.tasks[15];
            memory::put(inner + 256, &[inner + 288, owner, 0, 0, inner + 256, owner | 1 << 31, 0, owner]);
            words[0] = choices.one_of(&[inner + 256, inner + 257, 0, 8]);
            words[1] = choices.one_of(&[8, 8, 9, u64::MAX]);
            words[2] = choices.one_of(&[0, inner + 304, inner + 305]);
        }
        Structure::How => {
            words[0] = choices.one_of(&[0, 1, 2, 0o101, 0o102, 0o200_000, 0o10_000_000, 0o20_200_002, 1 << 40, 0o1000]);
            words[1] = choices.one_of(&[0, 0, 0o644, 0o7777, 1 << 20]);
            words[2] = choices.one_of(&[0, 0, 1, 2, 4, 8, 0x10, 0x20, 0x18, 0x40]);
        }
        Structure::Polled => words[..16].fill_with(|| pair(file(choices), choices.below(0x4000))),
        Structure::Mask => {
            words[0] = choices.one_of(&[0, 1, 2, 3, 0xff, u64::MAX, 1 << 40]);
            words[1] = choices.one_of(&[0, 0, 0, 1, u64::MAX]);
        }
        Structure::Ready => {
            let events = choices.one_of(&[1, 4, 5, 0x8000_0001, 0x4000_0001, 0x1000_0005, 0x2000_0001, 0xffff_ffff]);
            words[0] = pair(events, choices.any());
        }
        Structure::Lock => {
            words[0] = pair(choices.below(4), 0) | choices.below(3) << 16;
            words[1] = choices.below(100);
            words[2] = choices.one_of(&[0, 1, 50, u64::MAX, 1 << 63]);
            words[3] = if choices.one_in(3) { pid(place, choices) } else { 0 };
        }
        Structure::Limit => words[..2].fill_with(|| choices.one_of(&[0, 1, 8, 64, 4096, 1 << 20, 1 << 24, u64::MAX])),
        Structure::Schedule => {
            // As the small structure a priority; as the large one size and policy.
            words[0] =
                if choices.one_in(2) { choices.one_of(&[0, 1, 50, 98, 99, 100]) } else { pair(48, choices.below(8)) };
            words[1] = choices.one_of(&[0, 1, 8, 2, 1 << 40]);
            words[2] = pair(choices.below(25), choices.one_of(&[0, 1, 98]));
            words[3..6].fill_with(|| choices.below(20_000_000));
        }
        Structure::Clone => {
            words[0] = choices.one_of(&[
                0,
                0x1000,
                0x100,
                0xd0f00,
                0x10d00,
                0x4100,
                0x4000,
                0x2_0000_0000,
                0x1_0000_0000,
                0x8000,
            ]);
            words[1..4].fill(inner);
            words[4] = choices.one_of(&[17, 0, 65, 10]);
            if choices.one_in(2) {
                (words[5], words[6]) = (inner, 2048);
            }
            words[10] = file(choices);
            if choices.one_in(4) {
                memory::put(inner + 3000, &[choices.one_of(&[1, 0, 300, 30_000, u64::MAX, place.tasks[0]])]);
                (words[8], words[9]) = (inner + 3000, choices.one_of(&[1, 1, 2, 33]));
            }
        }
        Structure::Semaphores => words[..16].fill_with(|| {
            choices.below(4)
                | choices.one_of(&[0, 1, 2, 0xffff, 0xfffe]) << 16
                | choices.one_of(&[0, 0o4000, 0o10000, 0o14000]) << 32
        }),
        Structure::Typed => words[..8].fill_with(|| choices.below(5)),
        Structure::Queue => {
            words[..4].copy_from_slice(&[choices.below(2) << 11, choices.below(12), choices.below(300), 0])
        }
        Structure::Requests => {
            let first = memory::of_argument(1);
            for (number, word) in words[..4].iter_mut().enumerate() {
                *word = first + number as u64 * 64;
                memory::put(*word, &request(inner, choices));
            }
        }
        Structure::Request => words[..8].copy_from_slice(&request(inner, choices)),
        Structure::Capabilities => {
            words[0] = pair(choices.one_of(&[0x2008_0522, 0x1998_0330, 0x2007_1026, 0]), pid(place, choices))
        }
        Structure::Int => words[..2].fill_with(|| choices.one_of(&[0, 1, 2, 16, 110, 128, u64::MAX, pair(3, 3)])),
        Structure::Long => words[..2].fill_with(|| choices.one_of(&[0, 1, 4096, 100, u64::MAX, 1 << 63, inner])),
        Structure::Filter => {
            // About one call: what is said of it leaves the process something to do, but for some.
            let verdict =
                choices.one_of(&[0x7fff, 0x7fff, 5, 5, 5, 3, 0x7fc0, 0x7fc0, 0x7ff0, 0x7ffc, 0x8000, 0]) << 16;
            let last = choices.one_of(&[0x06, 0x06, 0x16, 0x00]) | pair(0, 0x7fff_0000);
            let load = choices.one_of(&[0x20, 0x20, 0x80, 0x60]) | pair(0, choices.one_of(&[0, 0, 4, 16, 60, 64, 3]));
            let about = 0x0100_0015 | pair(0, choices.below(450));
            memory::put(inner + 256, &[load, about, 0x06 | pair(0, verdict | choices.below(140)), last]);
            words[0] = choices.one_of(&[4, 4, 4, 4, 3, 0, 4097]);
            words[1] = choices.one_of(&[inner + 256, inner + 256, inner + 256, 0, inner + 257]);
        }
        Structure::Words => {
            words[..16]
                .fill_with(|| choices.one_of(&[0, 1, 2, 5, 64, 0o600, 1000, inner, u64::MAX, 0x101_0101_0101_0101]));
        }
    }
}

/// The control data of a message: files or credentials, or neither.
fn control(place: &Place, choices: &mut Choices) -> [u64; 8] {
    let mut words = [0; 8];
    words[0] = choices.one_of(&[20, 24, 28, 28, 16, 15, 64, u64::MAX]);
    words[1] = pair(choices.one_of(&[1, 1, 1, 0]), choices.one_of(&[1, 1, 2, 3]));
    words[2] = if choices.one_in(3) { pair(pid(place, choices), 1000) } else { pair(file(choices), file(choices)) };
    words[3] = pair(choices.one_of(&[1000, 0]), 0);
    words
}

/// A second or nanosecond: mostly short.
fn time(choices: &mut Choices, unit: u64) -> u64 {
    match choices.below(16) {
        0 => choices.one_of(&[u64::MAX, 1 << 63, 1 << 40, unit, unit - 1, 0x3fff_ffff, 0x3fff_fffe]),
        1..6 => choices.below(unit / 100),
        _ => 0,
    }
}

fn signals(choices: &mut Choices) -> u64 {
    match choices.below(4) {
        0 => 0,
        1 => choices.any() & choices.any() & !(1 << 13),
        2 => choices.one_of(&[1 << 9, 1 << 11, 1 << 16, 1 << 33, u64::MAX]),
        _ => 1 << choices.below(64),
    }
}

fn vectors(words: &mut [u64], inner: u64, choices: &mut Choices) {
    for vector in words.chunks_mut(2) {
        vector[0] = match choices.below(16) {
            0 => choices.one_of(&[0, 8, 1 << 47, u64::MAX]),
            // The last bytes that can be written, then the page that can't.
            1 => inner + 4096 - 8,
            _ => inner + choices.below(256) * 8,
        };
        vector[1] = match choices.below(16) {
            0 => choices.one_of(&[u64::MAX, 1 << 63, 1 << 31, 1 << 20]),
            1..5 => 0,
            _ => choices.below(200),
        };
    }
}

fn copy(words: &mut [u64; WORDS], bytes: &[u8; 40]) {
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    }
}

/// `struct iocb`, which mostly polls, reads or writes.
fn request(inner: u64, choices: &mut Choices) -> [u64; 8] {
    let operation = choices.one_of(&[0, 1, 2, 3, 5, 5, 5, 5, 7, 8, 6, 0xffff]);
    let seldom = |choices: &mut Choices| if choices.one_in(16) { choices.any() } else { 0 };
    let is_transfer = [0, 1, 7, 8].contains(&operation);
    let (buffer, length, offset) = match operation {
        0 | 1 => (inner, choices.below(200), choices.below(5000)),
        7 | 8 => {
            memory::put(inner + 1024, &[inner, choices.below(100), inner + 512, choices.below(100)]);
            (inner + 1024, choices.below(3), choices.below(5000))
        }
        5 => (choices.one_of(&[1, 4, 5, 0x2000, 0, 1 << 16]), seldom(choices), 0),
        _ => (seldom(choices), 0, 0),
    };
    let flags = if is_transfer { choices.one_of(&[0, 0, 0, 8, 16, 2, 1 << 20]) } else { 0 };
    [
        choices.any(),
        pair(0, flags),
        operation | choices.one_of(&[0, 0, 2 << 13, 1 << 13 | 4]) << 16 | (file(choices) & 0xffff_ffff) << 32,
        buffer,
        length,
        offset,
        seldom(choices),
        pair(choices.one_of(&[0, 0, 1, 1, 2, 3, 4]), file(choices)),
    ]
}
