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

/// Bytes that are gathered before they are written: strings may be more than the kernel's heap has in one piece.
const PIECE: usize = 256 << 10;

/// Takes bytes for an address.
type Write<'a> = &'a mut dyn FnMut(u64, &[u8]) -> Result<(), Errno>;

/// A stack that is laid out. What is written goes from [`Self::pointer`] to the top.
pub struct Stack<'a> {
    /// The first stack pointer; 16-byte aligned, points at argc.
    pub pointer: u64,
    /// Where the argument strings lie (for /proc/PID/cmdline): first byte, first byte behind.
    pub arguments: (u64, u64),
    /// Where the environment strings lie: first byte, first byte behind.
    pub environment: (u64, u64),
    /// The auxiliary vector.
    pub vector: Vec<u8>,
    top: u64,
    strings_at: u64,
    lists: [&'a [Vec<u8>]; 2],
    facts: &'a Facts<'a>,
}

/// What `AT_PLATFORM` points to.
const PLATFORM: &[u8] = b"x86_64\0";

/// The bytes of strings with their NULs.
fn length(strings: &[Vec<u8>]) -> u64 {
    strings.iter().map(|string| string.len() as u64 + 1).sum()
}

impl<'a> Stack<'a> {
    /// Lays out a stack that ends at `top` (16-byte aligned).
    pub fn new(top: u64, arguments: &'a [Vec<u8>], environment: &'a [Vec<u8>], facts: &'a Facts<'a>) -> Self {
        // From the bottom up: random bytes, platform, argument strings, environment strings, the path, a zero word.
        let before = facts.random.len() + PLATFORM.len();
        let [argument_bytes, environment_bytes] = [arguments, environment].map(length);
        let behind = facts.path.len() + 9;
        let strings_at = (top - (before + behind) as u64 - argument_bytes - environment_bytes) & !15;
        let arguments_at = strings_at + before as u64;
        let environment_at = arguments_at + argument_bytes;
        let path_at = environment_at + environment_bytes;
        let own = [
            (auxvec::AT_RANDOM, strings_at),
            (auxvec::AT_EXECFN, path_at),
            (auxvec::AT_PLATFORM, strings_at + facts.random.len() as u64),
            (auxvec::AT_NULL, 0),
        ];
        let mut vector = Vec::with_capacity(16 * (facts.vector.len() + own.len()));
        for &(kind, value) in facts.vector.iter().chain(&own) {
            vector.extend_from_slice(&u64::from(kind).to_le_bytes());
            vector.extend_from_slice(&value.to_le_bytes());
        }
        let words = 1 + arguments.len() + 1 + environment.len() + 1;
        Self {
            pointer: (strings_at - 8 * words as u64 - vector.len() as u64) & !15,
            arguments: (arguments_at, environment_at),
            environment: (environment_at, path_at),
            vector,
            top,
            strings_at,
            lists: [arguments, environment],
            facts,
        }
    }

    /// How many bytes are written.
    pub fn length(&self) -> u64 {
        self.top - self.pointer
    }

    /// Writes it in pieces, each by `write` at its address. `ENOMEM`; what `write` fails with.
    pub fn write(&self, write: Write<'_>) -> Result<(), Errno> {
        let piece = memory::heap::try_vec(PIECE.min(self.length() as usize))?;
        let mut out = Writer { at: self.pointer, piece, write };
        out.put(&(self.lists[0].len() as u64).to_le_bytes())?;
        for (list, start) in self.lists.iter().zip([self.arguments.0, self.environment.0]) {
            let mut at = start;
            for string in *list {
                out.put(&at.to_le_bytes())?;
                at += string.len() as u64 + 1;
            }
            out.put(&[0; 8])?;
        }
        out.put(&self.vector)?;
        out.zeros_to(self.strings_at)?;
        out.put(&self.facts.random)?;
        out.put(PLATFORM)?;
        for string in self.lists.iter().copied().flatten() {
            out.put(string)?;
            out.put(&[0])?;
        }
        out.put(self.facts.path)?;
        out.zeros_to(self.top)?;
        out.flush()
    }
}

/// Gathers bytes in a row.
struct Writer<'a> {
    /// Where the piece goes.
    at: u64,
    piece: Vec<u8>,
    write: Write<'a>,
}

impl Writer<'_> {
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            if self.piece.len() == self.piece.capacity() {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.piece.capacity() - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn zeros_to(&mut self, address: u64) -> Result<(), Errno> {
        const ZEROS: [u8; 64] = [0; 64];
        loop {
            let left = address.saturating_sub(self.at + self.piece.len() as u64);
            if left == 0 {
                return Ok(());
            }
            self.put(&ZEROS[..left.min(ZEROS.len() as u64) as usize])?;
        }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        (self.write)(self.at, &self.piece)?;
        self.at += self.piece.len() as u64;
        self.piece.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOP: u64 = 0x7fff_ffff_e000;

    struct Reader {
        pointer: u64,
        bytes: Vec<u8>,
    }

    impl Reader {
        fn new(stack: &Stack<'_>) -> Self {
            let mut bytes = Vec::new();
            stack
                .write(&mut |at, piece| {
                    assert_eq!(at, stack.pointer + bytes.len() as u64);
                    assert!(piece.len() <= PIECE);
                    bytes.extend_from_slice(piece);
                    Ok(())
                })
                .unwrap();
            assert_eq!(bytes.len() as u64, stack.length());
            Self { pointer: stack.pointer, bytes }
        }
        fn word(&self, at: u64) -> u64 {
            let from = (at - self.pointer) as usize;
            u64::from_le_bytes(self.bytes[from..from + 8].try_into().unwrap())
        }
        fn string(&self, at: u64) -> Vec<u8> {
            let from = (at - self.pointer) as usize;
            self.bytes[from..].iter().copied().take_while(|&byte| byte != 0).collect()
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
            let stack = Stack::new(TOP, &arguments, &environment, &facts);
            let read = Reader::new(&stack);
            prop_assert_eq!(stack.pointer % 16, 0);
            prop_assert_eq!(stack.pointer + stack.length(), TOP);
            let mut at = stack.pointer;
            let mut next = || { at += 8; read.word(at - 8) };
            prop_assert_eq!(next(), arguments.len() as u64);
            for list in [&arguments, &environment] {
                for string in list {
                    prop_assert_eq!(&read.string(next()), string);
                }
                prop_assert_eq!(next(), 0);
            }
            prop_assert_eq!(&read.bytes[(at - stack.pointer) as usize..][..stack.vector.len()], &stack.vector);
            let mut next = || { at += 8; read.word(at - 8) };
            let mut vector = alloc::collections::BTreeMap::new();
            loop {
                let (kind, value) = (next(), next());
                if kind == 0 { break; }
                vector.insert(kind as u32, value);
            }
            prop_assert_eq!(vector[&auxvec::AT_PAGESZ], 4096);
            prop_assert_eq!(&read.string(vector[&auxvec::AT_EXECFN]), &path);
            prop_assert_eq!(read.word(vector[&auxvec::AT_RANDOM]), 0x0707_0707_0707_0707);
            let size: usize = arguments.iter().map(|one| one.len() + 1).sum();
            prop_assert_eq!(stack.arguments.1 - stack.arguments.0, size as u64);
        }
    }

    #[test]
    fn strings_that_are_more_than_a_piece_lie_as_others_do() {
        let arguments: Vec<Vec<u8>> = (0..60).map(|number| alloc::vec![b'a' + number % 26; 100_000]).collect();
        let facts = Facts { random: [7; 16], path: b"x", vector: &[] };
        let stack = Stack::new(TOP, &arguments, &[], &facts);
        let read = Reader::new(&stack);
        for (number, argument) in arguments.iter().enumerate() {
            assert!(read.string(read.word(stack.pointer + 8 * (number as u64 + 1))) == *argument, "argument {number}");
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
