//! The heap over the frame allocator: slabs of equal objects, and frames in a row.
//!
//! Each CPU keeps a list of free objects for each size class, and exchanges batches with the class (`class`).

use super::class::{Class, FreeList, Object, batch};
use super::classes::{CLASSES, Size, size_for};
use super::{ClassStatistics, HeapStatistics};
use crate::{frames, placement};
use base::{MAX_CPUS, MAX_NODES, NodeId};
use core::alloc::Layout;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use machine::cpu;
use machine::frame::{Block, FRAME_SIZE};
use machine::sync::{IrqLock, rank};

/// A heap.
pub struct Heap {
    cpus: [Cache; MAX_CPUS],
    classes: [IrqLock<Class>; CLASSES],
    /// Frames of large objects.
    large: AtomicU64,
    nodes: NodeFrames,
}

/// Frames of the heap by the node that they lie on.
pub(super) struct NodeFrames([AtomicU64; MAX_NODES]);

/// What a CPU keeps for itself.
#[repr(align(128))]
struct Cache(IrqLock<[FreeList; CLASSES]>);

impl Heap {
    /// A heap that holds nothing.
    pub const fn new() -> Self {
        let mut classes = [const { IrqLock::new(rank::HEAP, Class::new(0)) }; CLASSES];
        let mut number = 0;
        while number < CLASSES {
            classes[number] = IrqLock::new(rank::HEAP, Class::new(number));
            number += 1;
        }
        Self {
            cpus: [const { Cache(IrqLock::new(rank::HEAP_CACHE, [const { FreeList::EMPTY }; CLASSES])) }; MAX_CPUS],
            classes,
            large: AtomicU64::new(0),
            nodes: NodeFrames::new(),
        }
    }

    /// Memory for a layout, or null.
    pub fn allocate(&self, layout: Layout) -> *mut u8 {
        match size_for(layout) {
            Size::Small(class) => {
                let mut cache = self.cpus[cpu::current().index()].0.lock();
                let list = &mut cache[class];
                if list.first.is_none() {
                    self.refill(class, list);
                }
                list.pop().map_or(null_mut(), |object| object.as_ptr().cast())
            }
            Size::Frames { count, order } => self.allocate_frames(count, order),
            Size::TooLarge => null_mut(),
        }
    }

    /// Gives memory back.
    ///
    /// # Safety
    /// `pointer` came from [`Heap::allocate`] of this heap with the same layout, and is not used any longer.
    pub unsafe fn free(&self, pointer: *mut u8, layout: Layout) {
        match size_for(layout) {
            Size::Small(class) => {
                let Some(object) = NonNull::new(pointer.cast::<Object>()) else { return };
                let mut cache = self.cpus[cpu::current().index()].0.lock();
                let list = &mut cache[class];
                // SAFETY: the object is of this class, since the layout is the one it was allocated with, and the
                // caller has given it up.
                unsafe { list.push(object) };
                if list.length > 2 * batch(class) {
                    self.drain(class, list);
                }
            }
            Size::Frames { count, .. } => {
                self.large.fetch_sub(count as u64, Relaxed);
                // SAFETY: `allocate_frames` gave these frames, all `count` of them, and the caller has given them up.
                unsafe { free_frames(pointer, count, &self.nodes) };
            }
            Size::TooLarge => {}
        }
    }

    /// What each size class holds.
    pub fn classes(&self) -> [ClassStatistics; CLASSES] {
        let mut cached = [0; CLASSES];
        for cpu in &self.cpus {
            let lists = cpu.0.lock();
            cached.iter_mut().zip(lists.iter()).for_each(|(sum, list)| *sum += list.length);
        }
        core::array::from_fn(|number| self.classes[number].lock().statistics(cached[number]))
    }

    /// How much it holds.
    pub fn statistics(&self) -> HeapStatistics {
        let large = self.large.load(Relaxed);
        let start = HeapStatistics { frames: large, used_bytes: large * FRAME_SIZE as u64 };
        self.classes().iter().fold(start, |sum, class| HeapStatistics {
            frames: sum.frames + class.frames as u64,
            used_bytes: sum.used_bytes + (class.used * class.size) as u64,
        })
    }

    /// Frames that it has on `node`.
    pub fn frames_on(&self, node: NodeId) -> u64 {
        self.nodes.0.get(node.index()).map_or(0, |frames| frames.load(Relaxed))
    }

    /// Gives back what holds nothing.
    pub fn trim(&self) {
        for cpu in &self.cpus {
            let mut lists = cpu.0.lock();
            for (number, list) in lists.iter_mut().enumerate() {
                if list.length > 0 {
                    self.classes[number].lock().drain(list, usize::MAX, &self.nodes);
                }
            }
        }
        for class in &self.classes {
            class.lock().release_empty(&self.nodes);
        }
    }

    // What is needed once in a batch stays out of the way of what is needed always: inside, it would make every
    // allocation save and restore registers.
    #[inline(never)]
    fn refill(&self, class: usize, list: &mut FreeList) {
        self.classes[class].lock().refill(list, &self.nodes);
    }

    #[inline(never)]
    fn drain(&self, class: usize, list: &mut FreeList) {
        self.classes[class].lock().drain(list, batch(class), &self.nodes);
    }

    #[inline(never)]
    fn allocate_frames(&self, count: usize, order: u8) -> *mut u8 {
        let Ok(block) = frames::allocate_block(order, &placement::objects()) else { return null_mut() };
        frames::heap_has_grown();
        self.large.fetch_add(count as u64, Relaxed);
        self.nodes.add(block.node(), count as u64);
        let address = block.into_address();
        // What is more than asked for goes back, from the end in blocks as large as their alignment allows.
        let mut end = 1 << order;
        while end > count {
            let order = (end - count).ilog2().min(end.trailing_zeros());
            end -= 1 << order;
            // SAFETY: the frames belong to the block that was just given up, lie behind the part that is handed out,
            // and start at a multiple of their number in the block and so in memory.
            drop(unsafe { Block::from_address(address.wrapping_add(end * FRAME_SIZE), order as u8) });
        }
        address
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeFrames {
    pub(super) const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; MAX_NODES])
    }

    pub(super) fn add(&self, node: NodeId, frames: u64) {
        if let Some(counted) = self.0.get(node.index()) {
            counted.fetch_add(frames, Relaxed);
        }
    }

    /// Gives a block back that was counted.
    pub(super) fn give(&self, block: Block) {
        if let Some(counted) = self.0.get(block.node().index()) {
            counted.fetch_sub(block.frames(), Relaxed);
        }
    }

    #[cfg(test)]
    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|frames| frames.load(Relaxed)).sum()
    }
}

/// Gives `count` frames in a row back, which start at a multiple of at least their number.
///
/// # Safety
/// They are what `allocate_frames` gave, and not used any longer.
#[inline(never)]
unsafe fn free_frames(address: *mut u8, count: usize, nodes: &NodeFrames) {
    let mut start = 0;
    while start < count {
        // The largest blocks first: each starts at a multiple of its size.
        let order = (count - start).ilog2();
        // SAFETY: as the caller says.
        let block = unsafe { Block::from_address(address.wrapping_add(start * FRAME_SIZE), order as u8) };
        nodes.give(block);
        start += 1 << order;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::CpuId;
    use machine::host::set_cpu;
    use proptest::prelude::*;
    use std::vec::Vec;

    struct Allocation {
        pointer: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Allocation {
        fn new(heap: &Heap, layout: Layout, mark: u8) -> Self {
            let pointer = heap.allocate(layout);
            assert!(!pointer.is_null() && pointer.addr().is_multiple_of(layout.align()));
            // SAFETY: the heap gave this many bytes.
            unsafe { pointer.write_bytes(mark, layout.size()) };
            Self { pointer, layout, mark }
        }

        fn free(self, heap: &Heap) -> bool {
            // SAFETY: all bytes were written in `new`, and the memory is given up after.
            let bytes = unsafe { core::slice::from_raw_parts(self.pointer, self.layout.size()) };
            let intact = bytes.iter().all(|&byte| byte == self.mark);
            // SAFETY: it came from this heap with this layout.
            unsafe { heap.free(self.pointer, self.layout) };
            intact
        }
    }

    fn on_nodes(heap: &Heap) -> u64 {
        heap.nodes.sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn objects_keep_their_bytes_and_nothing_is_left_behind(
            steps in prop::collection::vec((any::<bool>(), 0..4u32, 0..14u32, any::<u16>(), 0..8u32, any::<prop::sample::Index>()), 1..400)
        ) {
            crate::tests::start();
            let heap = Heap::new();
            let mut live = Vec::new();
            for (index, (make, cpu, bits, size, align, which)) in steps.into_iter().enumerate() {
                set_cpu(CpuId::new(cpu));
                if make {
                    let size = usize::from(size) % (1 << bits);
                    live.push(Allocation::new(&heap, Layout::from_size_align(size, 1 << align).unwrap(), index as u8));
                } else if !live.is_empty() {
                    prop_assert!(live.swap_remove(which.index(live.len())).free(&heap));
                }
            }
            prop_assert_eq!(on_nodes(&heap), heap.statistics().frames);
            for allocation in live {
                prop_assert!(allocation.free(&heap));
            }
            prop_assert_eq!(heap.statistics().used_bytes, 0);
            prop_assert_eq!(on_nodes(&heap), heap.statistics().frames);
            heap.trim();
            prop_assert_eq!(heap.statistics(), HeapStatistics::default());
            prop_assert_eq!(on_nodes(&heap), 0);
        }
    }

    #[test]
    fn it_grows_where_the_running_task_says() {
        crate::tests::start();
        let heap = Heap::new();
        let node = NodeId::new(1);
        crate::space::tests::grow_on(node);
        let sizes = [100, 3 * FRAME_SIZE];
        let made = sizes.map(|size| Allocation::new(&heap, Layout::from_size_align(size, 8).unwrap(), 1));
        assert!(heap.frames_on(node) >= 4);
        assert_eq!(heap.frames_on(node), heap.statistics().frames);
        made.into_iter().for_each(|allocation| assert!(allocation.free(&heap)));
    }

    #[test]
    fn objects_in_use_are_counted_by_their_size_class() {
        crate::tests::start();
        let heap = Heap::new();
        let layout = Layout::from_size_align(100, 8).unwrap();
        let objects: Vec<_> = (0..40).map(|mark| Allocation::new(&heap, layout, mark)).collect();
        let class = heap.classes().into_iter().find(|class| class.size == 128).unwrap();
        assert_eq!((class.used, class.objects), (40, class.slabs * class.per_slab));
        assert_eq!(class.slab_frames * FRAME_SIZE / 128 - class.per_slab, 1, "the header takes the room of one");
        assert!(heap.classes().iter().all(|class| class.size == 128 || class.used == 0));
        assert!(objects.into_iter().all(|object| object.free(&heap)));
        assert!(heap.classes().iter().all(|class| class.used == 0));
    }
}
