//! The first stack of a program: strings, auxiliary vector, environment, arguments, as the x86-64 psABI lays them out.

use alloc::vec::Vec;
use base::Errno;
use linux_raw_sys::auxvec;

/// The longest single argument or environment string, its NUL included.
pub const STRING_MAX: usize = 128 * 1024;

/// The most that arguments and environment may take together, whatever `RLIMIT_STACK` says.
const TOTAL_MAX: u64 = 6 << 20;
/// The least that Linux always leaves for them.
const TOTAL_MIN: u64 = 128 * 1024;

/// The most bytes for strings and pointers together under a stack limit of `stack_limit` bytes.
pub fn space_for_arguments(stack_limit: u64) -> u64 {
    (stack_limit / 4).clamp(TOTAL_MIN, TOTAL_MAX)
}

/// Checks arguments and environment. `E2BIG`: a string over [`STRING_MAX`], or all over [`space_for_arguments`].
pub fn check_size<'a>(strings: impl Iterator<Item = &'a Vec<u8>>, stack_limit: u64) -> Result<(), Errno> {
    let mut left = space_for_arguments(stack_limit);
    for string in strings {
        if string.len() >= STRING_MAX {
            return Err(Errno::E2BIG);
        }
        let size = string.len() as u64 + 1 + size_of::<u64>() as u64;
        left = left.checked_sub(size).ok_or(Errno::E2BIG)?;
    }
    Ok(())
}

/// What goes onto the stack besides arguments and environment.
pub struct Facts<'a> {
    /// Sixteen random bytes.
    pub random: [u8; 16],
    /// The path that was executed.
    pub path: &'a [u8],
    /// Entries of the auxiliary vector that don't point into the stack.
    pub vector: &'a [(u32, u64)],
}

/// A finished stack: these bytes go to [`Self::pointer`], and end at the top.
pub struct Stack {
    /// The first stack pointer; 16-byte aligned, points at argc.
    pub pointer: u64,
    /// Everything from there to the top.
    pub bytes: Vec<u8>,
    /// Where the argument strings lie (for /proc/PID/cmdline): first byte, first byte behind.
    pub arguments: (u64, u64),
    /// Where the environment strings lie: first byte, first byte behind.
    pub environment: (u64, u64),
}

/// Lays out a stack that ends at `top` (16-byte aligned).
pub fn build(top: u64, arguments: &[Vec<u8>], environment: &[Vec<u8>], facts: &Facts<'_>) -> Stack {
    // From the top down: a zero word, the path, environment strings, argument strings, platform, random bytes;
    // they are gathered here in ascending order.
    let mut strings = Vec::new();
    let mut add = |bytes: &[u8]| {
        let at = strings.len() as u64;
        strings.extend_from_slice(bytes);
        at
    };
    let random = add(&facts.random);
    let platform = add(b"x86_64\0");
    let mut add_all = |list: &[Vec<u8>]| -> (Vec<u64>, u64, u64) {
        let mut offsets = Vec::with_capacity(list.len());
        for string in list {
            offsets.push(add(string));
            add(&[0]);
        }
        let first = offsets.first().copied();
        let end = add(&[]);
        (offsets, first.unwrap_or(end), end)
    };
    let (argument_offsets, arguments_start, arguments_end) = add_all(arguments);
    let (environment_offsets, environment_start, environment_end) = add_all(environment);
    let path = add(facts.path);
    add(&[0; 9]);

    let strings_at = (top - strings.len() as u64) & !15;
    let pairs = facts.vector.len() + 4;
    let words = 1 + arguments.len() + 1 + environment.len() + 1 + 2 * pairs;
    let pointer = (strings_at - 8 * words as u64) & !15;
    let mut bytes = Vec::with_capacity((top - pointer) as usize);
    let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
    word(arguments.len() as u64);
    for list in [&argument_offsets, &environment_offsets] {
        list.iter().for_each(|offset| word(strings_at + offset));
        word(0);
    }
    let own = [
        (auxvec::AT_RANDOM, strings_at + random),
        (auxvec::AT_EXECFN, strings_at + path),
        (auxvec::AT_PLATFORM, strings_at + platform),
        (auxvec::AT_NULL, 0),
    ];
    for &(kind, value) in facts.vector.iter().chain(&own) {
        word(kind.into());
        word(value);
    }
    bytes.resize((strings_at - pointer) as usize, 0);
    bytes.extend_from_slice(&strings);
    bytes.resize((top - pointer) as usize, 0);
    Stack {
        pointer,
        bytes,
        arguments: (strings_at + arguments_start, strings_at + arguments_end),
        environment: (strings_at + environment_start, strings_at + environment_end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 0x7fff_ffff_e000;

    struct Reader<'a>(&'a Stack);

    impl Reader<'_> {
        fn word(&self, at: u64) -> u64 {
            let from = (at - self.0.pointer) as usize;
            u64::from_le_bytes(self.0.bytes[from..from + 8].try_into().unwrap())
        }
        fn string(&self, at: u64) -> Vec<u8> {
            let from = (at - self.0.pointer) as usize;
            self.0.bytes[from..].iter().copied().take_while(|&byte| byte != 0).collect()
        }
    }

    proptest! {
        #[test]
        fn a_program_finds_what_exec_was_given(
            arguments in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..12),
            environment in proptest::collection::vec(proptest::collection::vec(1u8.., 0..40), 0..12),
            path in proptest::collection::vec(1u8.., 1..60),
        ) {
            let facts = Facts { random: [7; 16], path: &path, vector: &[(auxvec::AT_PAGESZ, 4096)] };
            let stack = build(TOP, &arguments, &environment, &facts);
            let read = Reader(&stack);
            prop_assert_eq!(stack.pointer % 16, 0);
            prop_assert_eq!(stack.pointer + stack.bytes.len() as u64, TOP);
            let mut at = stack.pointer;
            let mut next = || { at += 8; read.word(at - 8) };
            prop_assert_eq!(next(), arguments.len() as u64);
            for list in [&arguments, &environment] {
                for string in list {
                    prop_assert_eq!(&read.string(next()), string);
                }
                prop_assert_eq!(next(), 0);
            }
            let mut vector = alloc::collections::BTreeMap::new();
            loop {
                let (kind, value) = (next(), next());
                if kind == 0 { break; }
                vector.insert(kind as u32, value);
            }
            prop_assert_eq!(vector[&auxvec::AT_PAGESZ], 4096);
            prop_assert_eq!(read.string(vector[&auxvec::AT_EXECFN]), path);
            prop_assert_eq!(read.word(vector[&auxvec::AT_RANDOM]), 0x0707_0707_0707_0707);
            let size: usize = arguments.iter().map(|one| one.len() + 1).sum();
            prop_assert_eq!(stack.arguments.1 - stack.arguments.0, size as u64);
        }
    }

    #[test]
    fn too_long_a_string_or_too_many_are_refused() {
        let long = [alloc::vec![b'x'; STRING_MAX]];
        assert_eq!(check_size(long.iter(), 8 << 20), Err(Errno::E2BIG));
        let fits = [alloc::vec![b'x'; STRING_MAX - 1]];
        assert_eq!(check_size(fits.iter(), 8 << 20), Ok(()));
        let many = alloc::vec![alloc::vec![b'x'; 1000]; 3000];
        assert_eq!(check_size(many.iter(), 8 << 20), Err(Errno::E2BIG));
        assert_eq!(check_size(many[..1000].iter(), 8 << 20), Ok(()));
    }
}
