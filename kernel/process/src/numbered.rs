//! Values by number, where the numbers are small and mostly lie close together: finding one costs the same however many
//! there are.

use alloc::{boxed::Box, vec::Vec};

/// How many numbers share a page.
const PAGE: usize = 32;

/// Values by number. Memory is held for the pages of 32 numbers in which any is used, and 24 bytes for each page below
/// the largest.
pub struct Numbered<V> {
    pages: Vec<Page<V>>,
    /// Values of a page that has become empty: where numbers are used one after another, the next page needs them.
    spare: Box<[Option<V>]>,
}

struct Page<V> {
    /// A bit for each number that is used.
    used: u32,
    /// By number within the page; nothing while none is used.
    values: Box<[Option<V>]>,
}

impl<V> Page<V> {
    fn empty() -> Self {
        Self { used: 0, values: Box::default() }
    }
}

impl<V> Numbered<V> {
    /// No values.
    pub fn new() -> Self {
        Self { pages: Vec::new(), spare: Box::default() }
    }

    /// The value of `number`.
    pub fn get(&self, number: usize) -> Option<&V> {
        self.pages.get(number / PAGE)?.values.get(number % PAGE)?.as_ref()
    }

    /// The value of `number`, to be changed.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut V> {
        self.pages.get_mut(number / PAGE)?.values.get_mut(number % PAGE)?.as_mut()
    }

    /// The value of `number`, which is made if there is none.
    pub fn get_or_insert_with(&mut self, number: usize, make: impl FnOnce() -> V) -> &mut V {
        let (index, place) = (number / PAGE, number % PAGE);
        if self.pages.len() <= index {
            self.pages.resize_with(index + 1, Page::empty);
        }
        let page = &mut self.pages[index];
        if page.values.is_empty() {
            page.values = core::mem::take(&mut self.spare);
            if page.values.is_empty() {
                page.values = core::iter::repeat_with(|| None).take(PAGE).collect();
            }
        }
        page.used |= 1 << place;
        page.values[place].get_or_insert_with(make)
    }

    /// Takes the value of `number` out.
    pub fn remove(&mut self, number: usize) -> Option<V> {
        let page = self.pages.get_mut(number / PAGE)?;
        let value = page.values.get_mut(number % PAGE)?.take()?;
        page.used &= !(1 << (number % PAGE));
        if page.used == 0 {
            self.spare = core::mem::take(&mut page.values);
        }
        Some(value)
    }

    /// The smallest number from `start` on that is not used.
    pub fn first_free(&self, start: usize) -> usize {
        let mut number = start;
        while let Some(page) = self.pages.get(number / PAGE) {
            let free = !page.used >> (number % PAGE);
            if free != 0 {
                return number + free.trailing_zeros() as usize;
            }
            number = (number / PAGE + 1) * PAGE;
        }
        number
    }

    /// The values from the number `start` on, in the order of their numbers.
    pub fn values_from(&self, start: usize) -> impl Iterator<Item = &V> {
        let rest = self.pages.iter().skip(start / PAGE).flat_map(|page| &page.values);
        let before = if self.pages.get(start / PAGE).is_some_and(|page| page.used != 0) { start % PAGE } else { 0 };
        rest.skip(before).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map_that_knows_what_is_free(
            steps in proptest::collection::vec((0u8..4, 0usize..200), 1..200),
        ) {
            let (mut real, mut model) = (Numbered::new(), BTreeMap::new());
            for (step, number) in steps {
                match step {
                    0 => {
                        let made = *real.get_or_insert_with(number, || number * 2);
                        prop_assert_eq!(made, *model.entry(number).or_insert(number * 2));
                    }
                    1 => prop_assert_eq!(real.remove(number), model.remove(&number)),
                    2 => {
                        if let Some(value) = real.get_mut(number) {
                            *value += 1;
                        }
                        model.entry(number).and_modify(|value| *value += 1);
                    }
                    _ => {
                        let free = (number..).find(|number| !model.contains_key(number)).unwrap();
                        prop_assert_eq!(real.first_free(number), free);
                    }
                }
                prop_assert_eq!(real.get(number), model.get(&number));
                prop_assert!(real.values_from(number).eq(model.range(number..).map(|(_, value)| value)));
            }
        }
    }
}
