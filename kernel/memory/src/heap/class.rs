//! A size class of the heap: its slabs.
//!
//! A slab is a block of frames, aligned to its size; its header lies at its start, so the slab of an object is found
//! from the object's address. Where free frames no longer lie side by side, a class whose slabs are larger gets slabs of
//! one frame, which it knows by a list. A class knows the slabs that have free objects. A slab none of whose objects is in
//! use goes back to the frame allocator, except for the last one.

use super::ClassStatistics;
use super::classes::{SIZES, slab_order};
use super::slabs::NodeFrames;
use crate::{frames, placement};
use core::ptr::NonNull;
use machine::frame::{Block, FRAME_SIZE};

/// Free objects of one class, each of which holds the address of the next.
///
/// Invariant: they are not in use, and in no other list.
pub(super) struct FreeList {
    pub(super) first: Option<NonNull<Object>>,
    pub(super) length: usize,
}

pub(super) struct Object {
    next: Option<NonNull<Object>>,
}

/// The slabs of a class that have free objects, linked both ways.
///
/// Invariant: they are blocks of the class's order, or of single frames, that were given up for their address; their
/// headers and their free lists are only reached under the class's lock.
pub(super) struct Class {
    number: usize,
    partial: Option<NonNull<Slab>>,
    /// The slabs of one frame, where the class's are larger: those with and those without free objects.
    singles: Option<NonNull<Slab>>,
    /// All slabs, the full ones included.
    slabs: usize,
    /// Slabs without any object in use.
    empty: usize,
    /// Objects of all slabs.
    objects: usize,
    /// Free objects in all slabs.
    free: usize,
    /// Frames of all slabs.
    frames: usize,
}

/// The header of a slab.
struct Slab {
    next: Option<NonNull<Slab>>,
    previous: Option<NonNull<Slab>>,
    free: FreeList,
    /// The next in the list of single frames.
    next_single: Option<NonNull<Slab>>,
    /// How many objects it has.
    capacity: u32,
    order: u8,
    /// Whether it is in the list of single frames.
    is_single: bool,
}

// SAFETY: a list owns its free objects, which no CPU has a claim on; whoever has the list may use them.
unsafe impl Send for FreeList {}
// SAFETY: a class owns its slabs; whoever has the class may use them.
unsafe impl Send for Class {}

/// Objects that go between a CPU and a class at once: about half a frame of them.
pub(super) const fn batch(class: usize) -> usize {
    let objects = FRAME_SIZE / 2 / SIZES[class];
    if objects > 32 {
        32
    } else if objects < 4 {
        4
    } else {
        objects
    }
}

/// Where the first object of a slab lies: behind the header, at a multiple of what the class's objects are aligned to.
const fn first_offset(class: usize) -> usize {
    let align = 1 << SIZES[class].trailing_zeros();
    size_of::<Slab>().next_multiple_of(align)
}

/// Objects in a slab of 2^order frames.
const fn capacity(class: usize, order: u8) -> usize {
    ((FRAME_SIZE << order) - first_offset(class)) / SIZES[class]
}

impl FreeList {
    pub(super) const EMPTY: Self = Self { first: None, length: 0 };

    /// # Safety
    /// The object is large enough for a link, in use by nobody, and becomes the list's.
    pub(super) unsafe fn push(&mut self, object: NonNull<Object>) {
        // SAFETY: as the caller says.
        unsafe { object.write(Object { next: self.first }) };
        self.first = Some(object);
        self.length += 1;
    }

    pub(super) fn pop(&mut self) -> Option<NonNull<Object>> {
        let object = self.first?;
        // SAFETY: the list owns the object, and `push` wrote the link.
        self.first = unsafe { object.read() }.next;
        self.length -= 1;
        Some(object)
    }
}

impl Class {
    pub(super) const fn new(number: usize) -> Self {
        Self { number, partial: None, singles: None, slabs: 0, empty: 0, objects: 0, free: 0, frames: 0 }
    }

    /// What it holds, with `cached` free objects in the lists of CPUs.
    pub(super) fn statistics(&self, cached: usize) -> ClassStatistics {
        let order = slab_order(self.number);
        ClassStatistics {
            size: SIZES[self.number],
            used: self.objects.saturating_sub(self.free + cached),
            objects: self.objects,
            per_slab: capacity(self.number, order),
            slab_frames: 1 << order,
            slabs: self.slabs,
            frames: self.frames,
        }
    }

    /// Moves a batch of free objects to `list`; fewer, or none, if memory runs out.
    pub(super) fn refill(&mut self, list: &mut FreeList, nodes: &NodeFrames) {
        self.refill_from(list, nodes, &mut |order| frames::allocate_block(order, &placement::objects()).ok());
    }

    /// [`Self::refill`], with new slabs from `source`, which gives blocks of an order.
    fn refill_from(&mut self, list: &mut FreeList, nodes: &NodeFrames, source: &mut dyn FnMut(u8) -> Option<Block>) {
        for _ in 0..batch(self.number) {
            let Some(slab) = self.partial.or_else(|| self.grow(nodes, source)) else { return };
            // SAFETY: a slab of this class, which is borrowed.
            let header = unsafe { &mut *slab.as_ptr() };
            let Some(object) = header.free.pop() else { return };
            if header.free.length + 1 == header.capacity as usize {
                self.empty -= 1;
            }
            self.free -= 1;
            if header.free.first.is_none() {
                self.unlink(slab);
            }
            // SAFETY: it was free, and has just left the slab's list.
            unsafe { list.push(object) };
        }
    }

    /// Takes up to `most` objects of `list` back into their slabs.
    pub(super) fn drain(&mut self, list: &mut FreeList, most: usize, nodes: &NodeFrames) {
        for _ in 0..most {
            let Some(object) = list.pop() else { break };
            let Some(slab) = self.slab_of(object) else { break };
            // SAFETY: a slab of this class, which is borrowed.
            let header = unsafe { &mut *slab.as_ptr() };
            let was_full = header.free.first.is_none();
            // SAFETY: it was free, and has just left the other list.
            unsafe { header.free.push(object) };
            let (is_empty, is_single) = (header.free.length == header.capacity as usize, header.is_single);
            self.free += 1;
            if was_full {
                self.link(slab);
            }
            if is_empty {
                self.empty += 1;
                if self.empty > 1 || is_single {
                    self.release(slab, nodes);
                }
            }
        }
    }

    /// The slab that one of the class's objects lies in.
    fn slab_of(&self, object: NonNull<Object>) -> Option<NonNull<Slab>> {
        let start_in = |order: u8| object.addr().get() & !((FRAME_SIZE << order) - 1);
        let mut single = self.singles;
        while let Some(slab) = single {
            if slab.addr().get() == start_in(0) {
                return Some(slab);
            }
            // SAFETY: a slab of this class, which is borrowed.
            single = unsafe { slab.as_ref() }.next_single;
        }
        NonNull::new(object.as_ptr().cast::<u8>().with_addr(start_in(slab_order(self.number))).cast())
    }

    /// Makes a new slab, whose objects are all free.
    fn grow(&mut self, nodes: &NodeFrames, source: &mut dyn FnMut(u8) -> Option<Block>) -> Option<NonNull<Slab>> {
        let usual = slab_order(self.number);
        let block = source(usual).or_else(|| if usual > 0 { source(0) } else { None })?;
        frames::heap_has_grown();
        nodes.add(block.node(), block.frames());
        let order = block.order();
        let capacity = capacity(self.number, order);
        let is_single = order < usual;
        let start = block.into_address();
        let slab = NonNull::new(start.cast::<Slab>())?;
        let next_single = if is_single { self.singles.replace(slab) } else { None };
        let header = Slab {
            next: None,
            previous: None,
            free: FreeList::EMPTY,
            next_single,
            capacity: capacity as u32,
            order,
            is_single,
        };
        // SAFETY: the block's bytes are the class's now, aligned to more than the header needs.
        unsafe { slab.write(header) };
        // SAFETY: just written, and nobody else knows it.
        let header = unsafe { &mut *slab.as_ptr() };
        for index in (0..capacity).rev() {
            let object = start.wrapping_add(first_offset(self.number) + index * SIZES[self.number]);
            // SAFETY: inside the block, behind the header, and no two overlap.
            NonNull::new(object.cast()).into_iter().for_each(|object| unsafe { header.free.push(object) });
        }
        self.slabs += 1;
        self.empty += 1;
        self.objects += capacity;
        self.free += capacity;
        self.frames += 1 << order;
        self.link(slab);
        Some(slab)
    }

    /// Gives all slabs back none of whose objects is in use.
    pub(super) fn release_empty(&mut self, nodes: &NodeFrames) {
        let mut at = self.partial;
        while let Some(slab) = at
            && self.empty > 0
        {
            // SAFETY: a slab of this class, which is borrowed.
            let header = unsafe { slab.as_ref() };
            at = header.next;
            if header.free.length == header.capacity as usize {
                self.release(slab, nodes);
            }
        }
    }

    /// Gives a slab back none of whose objects is in use, and that is counted so.
    fn release(&mut self, slab: NonNull<Slab>, nodes: &NodeFrames) {
        self.unlink(slab);
        // SAFETY: a slab of this class, which is borrowed.
        let Slab { capacity, order, is_single, .. } = *unsafe { slab.as_ref() };
        if is_single {
            self.forget_single(slab);
        }
        self.empty -= 1;
        self.slabs -= 1;
        self.objects -= capacity as usize;
        self.free -= capacity as usize;
        self.frames -= 1 << order;
        // SAFETY: the block was given up in `grow`; no object of it is in use or in another list, and the class has
        // forgotten it.
        nodes.give(unsafe { Block::from_address(slab.as_ptr().cast(), order) });
    }

    /// Takes a slab out of the list of single frames.
    fn forget_single(&mut self, slab: NonNull<Slab>) {
        // SAFETY: slabs of this class, which is borrowed; one at a time.
        let next_of = |slab: NonNull<Slab>| unsafe { slab.as_ref() }.next_single;
        if self.singles == Some(slab) {
            self.singles = next_of(slab);
            return;
        }
        let mut at = self.singles;
        while let Some(before) = at {
            at = next_of(before);
            if at == Some(slab) {
                // SAFETY: as above.
                unsafe { (*before.as_ptr()).next_single = next_of(slab) };
            }
        }
    }

    /// Puts a slab in front of the list.
    fn link(&mut self, slab: NonNull<Slab>) {
        let next = self.partial.replace(slab);
        // SAFETY: slabs of this class, which is borrowed; one at a time.
        unsafe {
            (*slab.as_ptr()).next = next;
            (*slab.as_ptr()).previous = None;
            if let Some(next) = next {
                (*next.as_ptr()).previous = Some(slab);
            }
        }
    }

    /// Takes a slab out of the list.
    fn unlink(&mut self, slab: NonNull<Slab>) {
        // SAFETY: slabs of this class, which is borrowed; one at a time.
        unsafe {
            let (next, previous) = ((*slab.as_ptr()).next, (*slab.as_ptr()).previous);
            match previous {
                Some(previous) => (*previous.as_ptr()).next = next,
                None => self.partial = next,
            }
            if let Some(next) = next {
                (*next.as_ptr()).previous = previous;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::classes::CLASSES;
    use super::*;
    use proptest::prelude::*;

    /// Writes an object's whole size, and finds it unharmed.
    fn mark(object: NonNull<Object>, class: usize, byte: u8) {
        // SAFETY: the object is in use, by this test, and as large as its class says.
        unsafe { object.as_ptr().cast::<u8>().write_bytes(byte, SIZES[class]) };
    }

    fn is_marked(object: NonNull<Object>, class: usize, byte: u8) -> bool {
        // SAFETY: as in `mark`, which has written all bytes.
        unsafe { core::slice::from_raw_parts(object.as_ptr().cast::<u8>(), SIZES[class]) }.iter().all(|&at| at == byte)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn where_frames_lie_apart_slabs_of_one_frame_serve_every_class(
            class in 0..CLASSES,
            steps in prop::collection::vec((0..3u8, any::<bool>(), any::<prop::sample::Index>()), 1..120),
        ) {
            crate::tests::start();
            let nodes = NodeFrames::new();
            let mut tested = Class::new(class);
            let mut list = FreeList::EMPTY;
            let mut live = std::vec::Vec::new();
            for (number, (step, is_whole, which)) in steps.into_iter().enumerate() {
                if step > 0 {
                    let mut source = |order| {
                        (order == 0 || is_whole).then(|| frames::allocate_block(order, &placement::objects()).ok())?
                    };
                    tested.refill_from(&mut list, &nodes, &mut source);
                    while let Some(object) = list.pop() {
                        mark(object, class, number as u8);
                        live.push((object, number as u8));
                    }
                } else if !live.is_empty() {
                    let (object, byte) = live.swap_remove(which.index(live.len()));
                    prop_assert!(is_marked(object, class, byte));
                    // SAFETY: it came from the class, and is given up.
                    unsafe { list.push(object) };
                    tested.drain(&mut list, 1, &nodes);
                }
                let seen = tested.statistics(0);
                prop_assert_eq!(seen.used, live.len());
                prop_assert_eq!(seen.frames as u64, nodes.sum());
            }
            for (object, byte) in live {
                prop_assert!(is_marked(object, class, byte));
                // SAFETY: as above.
                unsafe { list.push(object) };
            }
            tested.drain(&mut list, usize::MAX, &nodes);
            prop_assert!(tested.singles.is_none(), "a slab of one frame goes with its last object");
            tested.release_empty(&nodes);
            prop_assert_eq!((tested.slabs, tested.objects, tested.free, nodes.sum()), (0, 0, 0, 0));
        }
    }
}
