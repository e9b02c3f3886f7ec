//! Where chance puts the parts of a program: the file, its heap, libraries and other mappings, the vDSO and the stack.
//!
//! Chance costs no page table: a table is one more to make at exec, to copy at fork and to free at exit. So what lies in one
//! directory of tables (1 GiB), stack and mappings, or in one table (2 MiB), the end of the program and the heap, goes
//! together by many bits, and by fewer bits within.

use super::image::{PAGE, USER_END};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};
use machine::random;

/// What one directory of page tables maps.
const DIRECTORY: u64 = 1 << 30;
/// What one page table maps.
const TABLE: u64 = 2 << 20;
/// By how many bits of pages a program is moved, as on Linux.
const PROGRAM_BITS: u32 = 28;
/// In how many directories, as a power of two, stack and mappings may lie: 1 TiB, as on Linux.
const DIRECTORY_BITS: u32 = 10;
/// By how many bits of pages the stack is moved in its directory: 128 MiB.
const STACK_BITS: u32 = 15;
/// By how many bits of pages mappings begin lower than the stack can reach, in the same directory: 512 MiB.
const MAPPING_BITS: u32 = 17;
/// By how many bits of pages the heap is moved from a program that lies in a fixed place, as on Linux: 32 MiB.
const HEAP_BITS: u32 = 13;

/// `kernel.randomize_va_space`.
static RANDOMIZATION: AtomicI32 = AtomicI32::new(2);

/// What is left to chance in programs that start: 0 nothing, 1 all but the heap, 2 the heap too; other numbers count as 1.
pub fn randomization() -> i32 {
    RANDOMIZATION.load(Relaxed)
}

/// Says what is left to chance from now on.
pub fn set_randomization(number: i32) {
    RANDOMIZATION.store(number, Relaxed);
}

/// By how much the parts of one program are moved, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Layout {
    /// The program up, if it can be anywhere.
    pub(super) program: u64,
    /// The stack down.
    pub(super) stack: u64,
    /// The highest address for mappings down.
    pub(super) mappings: u64,
    /// Pages by which the heap is moved, as far as it may be.
    heap: Option<u64>,
    /// Any number, by which the vDSO is moved as far as there is room.
    pub(super) shared_clock: u64,
}

impl Layout {
    /// A new one. `may_be_random`: the execution domain has nothing against it.
    pub(super) fn choose(may_be_random: bool) -> Self {
        let mode = if may_be_random { randomization() } else { 0 };
        if mode == 0 {
            return Self::default();
        }
        let mut bytes = [0; 16];
        random::fill(&mut bytes);
        Self::of(mode, u128::from_le_bytes(bytes))
    }

    /// The one that these bits make.
    fn of(mode: i32, mut bits: u128) -> Self {
        let mut take = |count: u32| {
            let taken = bits & ((1 << count) - 1);
            bits >>= count;
            taken as u64
        };
        let program = take(PROGRAM_BITS) * PAGE;
        let directory = take(DIRECTORY_BITS) * DIRECTORY;
        let stack = directory + take(STACK_BITS) * PAGE;
        let mappings = directory + (PAGE << STACK_BITS) + take(MAPPING_BITS) * PAGE;
        let heap = (mode > 1).then_some(take(HEAP_BITS));
        Self { program, stack, mappings, heap, shared_clock: take(32) }
    }

    /// Where the heap begins behind a program that ends at `end`: in what the last page table of the program maps if the
    /// program itself was moved, else anywhere in the next 32 MiB.
    pub(super) fn heap_start(&self, end: u64, is_moved: bool) -> u64 {
        let room = if is_moved { end.next_multiple_of(TABLE) - end } else { PAGE << HEAP_BITS };
        let offset = self.heap.map_or(0, |pages| pages % (room / PAGE).max(1) * PAGE);
        if end + offset < USER_END { end + offset } else { end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How far below the highest stack mappings begin if nothing is left to chance: see `AddressSpace::new`.
    const STACK_ROOM: u64 = (128 << 20) + (1 << 20);

    proptest! {
        #[test]
        fn every_bit_moves_something_and_the_parts_stay_together(bits: u128) {
            let layout = Layout::of(2, bits);
            for part in [layout.program, layout.mappings, layout.stack] {
                prop_assert!(part < (1 << 40) + DIRECTORY && part % PAGE == 0);
            }
            prop_assert!(layout.mappings > layout.stack, "the stack keeps its room");
            let (stack, mappings) = (USER_END - layout.stack, USER_END - STACK_ROOM - layout.mappings);
            prop_assert_eq!((stack - 1) / DIRECTORY, (mappings - 1) / DIRECTORY, "one directory has both");
            for bit in 0..u128::BITS {
                let is_taken = bit < PROGRAM_BITS + DIRECTORY_BITS + STACK_BITS + MAPPING_BITS + HEAP_BITS + 32;
                prop_assert_eq!(Layout::of(2, bits ^ 1 << bit) != layout, is_taken, "bit {}", bit);
            }
        }

        #[test]
        fn the_heap_begins_behind_the_program(bits: u128, pages in 1u64..1 << 34, mode in 1i32..=2) {
            let (layout, end) = (Layout::of(mode, bits), pages * PAGE);
            let (moved, fixed) = (layout.heap_start(end, true), layout.heap_start(end, false));
            prop_assert!(moved % PAGE == 0 && fixed % PAGE == 0);
            prop_assert!((end..(end + 1).next_multiple_of(TABLE)).contains(&moved));
            prop_assert!((end..end + (32 << 20)).contains(&fixed));
            prop_assert!(mode == 2 || (moved, fixed) == (end, end));
        }
    }

    #[test]
    fn without_chance_nothing_moves() {
        let still = Layout::choose(false);
        assert_eq!(still, Layout::default());
        assert_eq!((still.heap_start(0x41_0000, true), still.heap_start(0x41_0000, false)), (0x41_0000, 0x41_0000));
        assert_ne!(Layout::choose(true), still, "but once in 2^115");
        let top = Layout::of(2, u128::MAX);
        assert_eq!(top.heap_start(USER_END - PAGE, false), USER_END - PAGE, "no heap outside of user memory");
    }
}
