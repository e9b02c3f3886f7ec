//! A queue of bytes in a buffer that grows with what is in it.

use alloc::vec::Vec;
use base::Errno;

/// The first size of the buffer.
const SMALLEST: usize = 4096;

/// A queue of bytes. The buffer's length is 0 or a power of two.
#[derive(Default)]
pub struct Ring {
    buffer: Vec<u8>,
    start: usize,
    length: usize,
}

impl Ring {
    /// An empty queue without a buffer.
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), start: 0, length: 0 }
    }

    /// How many bytes are in it.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends all bytes. `ENOMEM`, then none.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.grow(bytes.len())?;
        let mask = self.buffer.len().wrapping_sub(1);
        let end = (self.start + self.length) & mask;
        let (first, second) = bytes.split_at(bytes.len().min(self.buffer.len() - end));
        self.buffer[end..end + first.len()].copy_from_slice(first);
        self.buffer[..second.len()].copy_from_slice(second);
        self.length += bytes.len();
        Ok(())
    }

    /// Puts bytes back in front of all others. `ENOMEM`, then none.
    pub fn push_front(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.grow(bytes.len())?;
        self.start = self.start.wrapping_sub(bytes.len()) & (self.buffer.len() - 1);
        let (first, second) = bytes.split_at(bytes.len().min(self.buffer.len() - self.start));
        self.buffer[self.start..self.start + first.len()].copy_from_slice(first);
        self.buffer[..second.len()].copy_from_slice(second);
        self.length += bytes.len();
        Ok(())
    }

    /// Makes the buffer large enough for so many bytes more. `ENOMEM`.
    pub fn reserve(&mut self, more: usize) -> Result<(), Errno> {
        self.grow(more)
    }

    /// Copies bytes out, from `skip` on, and leaves them in.
    pub fn peek(&self, skip: usize, out: &mut [u8]) -> usize {
        let count = out.len().min(self.length.saturating_sub(skip));
        if count == 0 {
            return 0;
        }
        let begin = (self.start + skip) & (self.buffer.len() - 1);
        let (first, second) = out[..count].split_at_mut(count.min(self.buffer.len() - begin));
        first.copy_from_slice(&self.buffer[begin..begin + first.len()]);
        second.copy_from_slice(&self.buffer[..second.len()]);
        count
    }

    /// Takes bytes out.
    pub fn pop(&mut self, out: &mut [u8]) -> usize {
        let count = self.peek(0, out);
        self.discard(count);
        count
    }

    /// Takes bytes away: `count`, or all if there are fewer.
    pub fn discard(&mut self, count: usize) {
        let count = count.min(self.length);
        self.length -= count;
        // Starting over at the front keeps small transfers in one piece and in the cache.
        self.start = if self.length == 0 { 0 } else { (self.start + count) & (self.buffer.len() - 1) };
    }

    /// Takes all bytes away, and the buffer.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The size of the buffer that [`Ring::reserve`] and [`Ring::push`] of so many bytes will make, if they have to.
    pub fn growth(&self, more: usize) -> Option<usize> {
        let needed = self.length + more;
        (needed > self.buffer.len()).then(|| needed.next_power_of_two().max(SMALLEST))
    }

    #[inline]
    fn grow(&mut self, more: usize) -> Result<(), Errno> {
        match self.growth(more) {
            Some(size) => self.enlarge(size),
            None => Ok(()),
        }
    }

    #[cold]
    fn enlarge(&mut self, size: usize) -> Result<(), Errno> {
        let mut larger = Vec::new();
        larger.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
        larger.resize(size, 0);
        self.peek(0, &mut larger);
        (self.buffer, self.start) = (larger, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        PushFront(Vec<u8>),
        Pop(usize),
        Peek(usize, usize),
        Discard(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Step::Push),
            proptest::collection::vec(any::<u8>(), 0..3000).prop_map(Step::PushFront),
            (0..5000usize).prop_map(Step::Pop),
            (0..5000usize, 0..5000usize).prop_map(|(skip, count)| Step::Peek(skip, count)),
            (0..3000usize).prop_map(Step::Discard),
        ]
    }

    proptest! {
        #[test]
        fn a_ring_is_a_queue(steps in proptest::collection::vec(any_step(), 1..60)) {
            let mut ring = Ring::new();
            let mut model: VecDeque<u8> = VecDeque::new();
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        ring.push(&bytes).unwrap();
                        model.extend(bytes);
                    }
                    Step::PushFront(bytes) => {
                        ring.push_front(&bytes).unwrap();
                        bytes.into_iter().rev().for_each(|byte| model.push_front(byte));
                    }
                    Step::Pop(count) => {
                        let mut out = std::vec![0; count];
                        let got = ring.pop(&mut out);
                        let expected: Vec<u8> = model.drain(..count.min(model.len())).collect();
                        prop_assert_eq!(&out[..got], &expected[..]);
                    }
                    Step::Peek(skip, count) => {
                        let mut out = std::vec![0; count];
                        let got = ring.peek(skip, &mut out);
                        let expected: Vec<u8> = model.iter().skip(skip).take(count).copied().collect();
                        prop_assert_eq!(&out[..got], &expected[..]);
                    }
                    Step::Discard(count) => {
                        ring.discard(count);
                        model.drain(..count.min(model.len()));
                    }
                }
                prop_assert_eq!(ring.len(), model.len());
            }
        }
    }
}
