//! What a register of a system call means: numbers, descriptors, and addresses that are claims until copied.

use alloc::{vec, vec::Vec};
use base::Errno;
use core::marker::PhantomData;
use machine::user_memory;

/// A type that one argument register can be read as. Reading never fails: what is wrong with a value is the
/// call's own error to give.
pub trait Argument {
    /// Reads the register.
    fn from_register(register: u64) -> Self;
}

macro_rules! argument_by_cast {
    ($($number:ty),*) => {
        $(impl Argument for $number {
            fn from_register(register: u64) -> Self {
                register as $number
            }
        })*
    };
}

// Linux reads the low bits of a register for a narrower argument.
argument_by_cast!(i32, u32, i64, u64, usize);

/// A structure of the ABI, as little-endian fields.
pub trait Abi: Sized {
    /// Its size in bytes.
    const SIZE: usize;

    /// Reads it from `SIZE` bytes.
    fn decode(bytes: &[u8]) -> Self;

    /// Writes it as `SIZE` bytes.
    fn encode(&self, bytes: &mut [u8]);
}

macro_rules! abi_number {
    ($($number:ty),*) => {
        $(impl Abi for $number {
            const SIZE: usize = size_of::<$number>();

            fn decode(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$number>()];
                raw.copy_from_slice(&bytes[..size_of::<$number>()]);
                Self::from_le_bytes(raw)
            }

            fn encode(&self, bytes: &mut [u8]) {
                bytes[..size_of::<$number>()].copy_from_slice(&self.to_le_bytes());
            }
        })*
    };
}

abi_number!(u8, i8, u16, i16, u32, i32, u64, i64);

impl<T: Abi + Copy, const N: usize> Abi for [T; N] {
    const SIZE: usize = T::SIZE * N;

    fn decode(bytes: &[u8]) -> Self {
        core::array::from_fn(|index| T::decode(&bytes[index * T::SIZE..]))
    }

    fn encode(&self, bytes: &mut [u8]) {
        for (index, item) in self.iter().enumerate() {
            item.encode(&mut bytes[index * T::SIZE..]);
        }
    }
}

/// Declares a structure of the ABI: the fields in memory order, padding spelled out.
macro_rules! abi_struct {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl $crate::arguments::Abi for $name {
            const SIZE: usize = 0 $(+ <$kind as $crate::arguments::Abi>::SIZE)*;

            fn decode(bytes: &[u8]) -> Self {
                let mut at = 0;
                $(
                    let $field = <$kind as $crate::arguments::Abi>::decode(&bytes[at..]);
                    at += <$kind as $crate::arguments::Abi>::SIZE;
                )*
                debug_assert_eq!(at, <Self as $crate::arguments::Abi>::SIZE);
                Self { $($field,)* }
            }

            fn encode(&self, bytes: &mut [u8]) {
                let mut at = 0;
                $(
                    self.$field.encode(&mut bytes[at..]);
                    at += <$kind as $crate::arguments::Abi>::SIZE;
                )*
                debug_assert_eq!(at, <Self as $crate::arguments::Abi>::SIZE);
            }
        }
    };
}
pub(crate) use abi_struct;

/// The largest [`Abi`] value that is copied through the stack.
const LARGEST: usize = 512;

/// Values up to these sizes take a short buffer: clearing a long one would cost more than the call.
const TINY: usize = 16;
const SMALL: usize = 32;
const MEDIUM: usize = 160;

/// An address that user space claims to hold a `T`.
pub struct UserPtr<T> {
    address: u64,
    kind: PhantomData<T>,
}

impl<T> Clone for UserPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for UserPtr<T> {}

impl<T> Argument for UserPtr<T> {
    fn from_register(register: u64) -> Self {
        Self { address: register, kind: PhantomData }
    }
}

impl<T> UserPtr<T> {
    /// A claim about this address.
    pub const fn at(address: u64) -> Self {
        Self { address, kind: PhantomData }
    }

    /// The address itself.
    pub const fn address(self) -> u64 {
        self.address
    }

    /// Whether the caller gave no address.
    pub const fn is_null(self) -> bool {
        self.address == 0
    }
}

impl<T: Abi> UserPtr<T> {
    /// Copies the value in. Error: `EFAULT`.
    pub fn read(self) -> Result<T, Errno> {
        const { assert!(T::SIZE <= LARGEST) };
        if T::SIZE <= TINY {
            self.read_through([0; TINY])
        } else if T::SIZE <= SMALL {
            self.read_through([0; SMALL])
        } else if T::SIZE <= MEDIUM {
            self.read_through([0; MEDIUM])
        } else {
            self.read_through([0; LARGEST])
        }
    }

    /// Copies the value in, if the address is not null. Error: `EFAULT`.
    pub fn read_optional(self) -> Result<Option<T>, Errno> {
        if self.is_null() { Ok(None) } else { self.read().map(Some) }
    }

    /// Copies the value out. Error: `EFAULT`.
    pub fn write(self, value: &T) -> Result<(), Errno> {
        const { assert!(T::SIZE <= LARGEST) };
        if T::SIZE <= TINY {
            self.write_through(value, [0; TINY])
        } else if T::SIZE <= SMALL {
            self.write_through(value, [0; SMALL])
        } else if T::SIZE <= MEDIUM {
            self.write_through(value, [0; MEDIUM])
        } else {
            self.write_through(value, [0; LARGEST])
        }
    }

    fn read_through<const N: usize>(self, mut bytes: [u8; N]) -> Result<T, Errno> {
        let bytes = &mut bytes[..T::SIZE];
        user_memory::read(self.address, bytes)?;
        Ok(T::decode(bytes))
    }

    fn write_through<const N: usize>(self, value: &T, mut bytes: [u8; N]) -> Result<(), Errno> {
        let bytes = &mut bytes[..T::SIZE];
        value.encode(bytes);
        user_memory::write(self.address, bytes)
    }

    /// Copies the value out, if the address is not null. Error: `EFAULT`.
    pub fn write_optional(self, value: &T) -> Result<(), Errno> {
        if self.is_null() { Ok(()) } else { self.write(value) }
    }

    /// The address of the item `index` of an array. It wraps like the processor's arithmetic; a copy checks it.
    pub fn item(self, index: usize) -> Self {
        Self { address: self.address.wrapping_add((index * T::SIZE) as u64), kind: PhantomData }
    }

    /// Copies an array in. Errors: `EFAULT`; `ENOMEM`.
    pub fn read_array(self, count: usize) -> Result<Vec<T>, Errno> {
        let length = count.checked_mul(T::SIZE).ok_or(Errno::EFAULT)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(length, 0);
        user_memory::read(self.address, &mut bytes)?;
        Ok(bytes.chunks_exact(T::SIZE).map(T::decode).collect())
    }

    /// Copies an array out. Error: `EFAULT`.
    pub fn write_array(self, items: &[T]) -> Result<(), Errno> {
        let mut bytes = vec![0; items.len() * T::SIZE];
        for (item, place) in items.iter().zip(bytes.chunks_exact_mut(T::SIZE)) {
            item.encode(place);
        }
        user_memory::write(self.address, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    abi_struct! {
        /// A structure with a hole.
        Holed { first: u8, hole: [u8; 3], second: i32, third: u64 }
    }

    #[test]
    fn fields_lie_where_c_puts_them() {
        let value = Holed { first: 1, hole: [0; 3], second: -2, third: 3 };
        let mut bytes = [0xff; 16];
        value.encode(&mut bytes);
        assert_eq!(bytes, [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Holed::decode(&bytes), value);
        assert_eq!(Holed::SIZE, 16);
    }

    #[test]
    fn a_narrow_argument_is_the_low_bits() {
        assert_eq!(i32::from_register(0xdead_beef_ffff_ffff), -1);
    }
}
