//! memory
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
