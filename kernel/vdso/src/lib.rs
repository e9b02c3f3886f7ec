//! vdso: the shared object that the kernel maps into every program, so that it can ask for the time and for its CPU without
//! entering the kernel (vdso(7)).
//!
//! The object is built from `image/lib.rs` by the build script; [`IMAGE`] is the file, as a program finds it in memory. The
//! page before it is the kernel's [`clock::Clock`], which all programs may read. Nothing of the object runs in the kernel.
#![no_std]
#![forbid(unsafe_code)]

pub mod clock;

/// The shared object, from its ELF header on.
pub static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/vdso.so"));
