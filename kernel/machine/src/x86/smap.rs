//! `stac` and `clac` where the processor has them: supervisor-mode access prevention.
//!
//! Both are invalid instructions on a processor without SMAP. Each place where the kernel wants one holds a NOP
//! of the same length and is listed in the section `smap_sites`; boot turns the NOPs into the instruction
//! before the kernel's code becomes read-only for good.

/// For `asm!` and `concat!`: allow access to user pages until [`clac!`].
macro_rules! stac {
    () => {
        "997: .byte 0x0f, 0x1f, 0x00\n.pushsection smap_sites,\"aR\",@progbits\n.long 997b - .\n.long 0xcb010f\n.popsection\n"
    };
}

/// For `asm!` and `concat!`: forbid access to user pages.
macro_rules! clac {
    () => {
        "998: .byte 0x0f, 0x1f, 0x00\n.pushsection smap_sites,\"aR\",@progbits\n.long 998b - .\n.long 0xca010f\n.popsection\n"
    };
}

pub(crate) use {clac, stac};
