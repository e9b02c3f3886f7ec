//! Which sizes the heap rounds to.

use core::alloc::Layout;
use machine::frame::FRAME_SIZE;

/// Sizes of small objects. Multiples of 16; a power of two among them is aligned to itself.
pub(super) const SIZES: [usize; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];
pub(super) const CLASSES: usize = 14;

/// The largest small object.
const LARGEST: usize = SIZES[CLASSES - 1];

/// For each size in units of 16 bytes, rounded up, its class.
static BY_SIZE: [u8; LARGEST / 16 + 1] = by_size();

const fn by_size() -> [u8; LARGEST / 16 + 1] {
    let mut classes = [0; LARGEST / 16 + 1];
    let mut unit = 0;
    let mut class = 0;
    while unit < classes.len() {
        if unit * 16 > SIZES[class] {
            class += 1;
        }
        classes[unit] = class as u8;
        unit += 1;
    }
    classes
}

/// The order of the slabs of a class: large enough for at least 7 objects.
pub(super) const fn slab_order(class: usize) -> u8 {
    match SIZES[class] {
        0..=512 => 0,
        513..=1024 => 1,
        _ => 2,
    }
}

/// How the heap serves a layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    /// From the class with this number.
    Small(usize),
    /// So many frames in a row, starting at a multiple of 2^order frames.
    Frames { count: usize, order: u8 },
    /// Not at all.
    TooLarge,
}

/// Finds the size for a layout, always the same for the same one.
pub(super) fn size_for(layout: Layout) -> Size {
    let size = if layout.align() <= 16 {
        layout.size()
    } else {
        // A power of two is aligned to itself.
        layout.size().max(layout.align()).checked_next_power_of_two().unwrap_or(usize::MAX)
    };
    if size <= LARGEST {
        return Size::Small(usize::from(BY_SIZE[size.div_ceil(16)]));
    }
    let count = layout.size().div_ceil(FRAME_SIZE).max(1);
    let aligned = layout.align().div_ceil(FRAME_SIZE).ilog2();
    let order = count.checked_next_power_of_two().map_or(u32::MAX, usize::ilog2).max(aligned);
    match u8::try_from(order) {
        Ok(order) if order <= machine::frame::MAX_ORDER => Size::Frames { count, order },
        _ => Size::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_layout_fits_its_class_without_much_waste(size in 0..=LARGEST, align in 0..=11u32) {
            let layout = Layout::from_size_align(size, 1 << align).unwrap();
            if let Size::Small(class) = size_for(layout) {
                prop_assert!(SIZES[class] >= size);
                prop_assert!(SIZES[class].is_multiple_of(layout.align()) || layout.align() <= 16);
                if align <= 4 && class > 0 {
                    prop_assert!(SIZES[class - 1] < size);
                }
            }
        }

        #[test]
        fn large_layouts_get_their_frames(size in LARGEST + 1..=4 << 20, align in 0..=22u32) {
            let layout = Layout::from_size_align(size, 1 << align).unwrap();
            let Size::Frames { count, order } = size_for(layout) else { panic!("{layout:?}") };
            prop_assert!(count * FRAME_SIZE >= size && count <= 1 << order);
            prop_assert!(FRAME_SIZE << order >= layout.align());
        }
    }
}
