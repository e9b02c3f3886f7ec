//! Where an archive is read from: bytes that lie in memory and can be borrowed, or what a packed archive gives piece
//! by piece.

use base::Errno;

/// A stream of bytes.
pub trait Input {
    /// How many bytes were taken so far.
    fn position(&self) -> usize;

    /// The next byte, which is not taken; `None` at the end. `EINVAL` broken.
    fn peek(&mut self) -> Result<Option<u8>, Errno>;

    /// Takes at least one and at most `most` bytes and gives them to `each`; nothing at the end. `EINVAL` broken, or an
    /// error of `each`. Returns how many there were.
    fn piece(&mut self, most: usize, each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<usize, Errno>;

    /// Takes `count` bytes that stay where they are for ever, if this input has such: `None` and nothing is taken if
    /// not. `EINVAL` fewer are left.
    fn borrow(&mut self, count: usize) -> Option<Result<&'static [u8], Errno>>;

    /// Takes as many bytes as `out` has room for. `EINVAL` fewer are left.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Errno> {
        let mut filled = 0;
        self.pieces(out.len(), &mut |piece| {
            out[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
            Ok(())
        })
    }

    /// Takes `count` bytes and gives them to `each`, piece by piece. `EINVAL` fewer are left.
    fn pieces(&mut self, count: usize, each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<(), Errno> {
        let mut left = count;
        while left > 0 {
            match self.piece(left, each)? {
                0 => return Err(Errno::EINVAL),
                taken => left -= taken,
            }
        }
        Ok(())
    }

    /// Takes zeros, with which archives are filled up. Returns whether anything is left behind them.
    fn skip_zeros(&mut self) -> Result<bool, Errno> {
        while let Some(byte) = self.peek()? {
            if byte != 0 {
                return Ok(true);
            }
            self.piece(1, &mut |_| Ok(()))?;
        }
        Ok(false)
    }
}

/// Bytes in memory.
pub struct Plain {
    rest: &'static [u8],
    taken: usize,
}

impl Plain {
    /// All of `bytes`.
    pub fn new(bytes: &'static [u8]) -> Self {
        Self { rest: bytes, taken: 0 }
    }

    /// What was not taken.
    pub fn rest(&self) -> &'static [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Option<&'static [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.taken += count;
        Some(taken)
    }
}

impl Input for Plain {
    fn position(&self) -> usize {
        self.taken
    }

    fn peek(&mut self) -> Result<Option<u8>, Errno> {
        Ok(self.rest.first().copied())
    }

    fn piece(&mut self, most: usize, each: &mut dyn FnMut(&[u8]) -> Result<(), Errno>) -> Result<usize, Errno> {
        let count = most.min(self.rest.len());
        match self.take(count) {
            Some([]) | None => Ok(0),
            Some(bytes) => each(bytes).map(|()| count),
        }
    }

    fn borrow(&mut self, count: usize) -> Option<Result<&'static [u8], Errno>> {
        Some(self.take(count).ok_or(Errno::EINVAL))
    }
}
