//! `stac` and `clac` where the processor has them: supervisor-mode access prevention.
//!
//! Both are invalid instructions on a processor without SMAP. Each place where the kernel wants one holds a NOP
//! of the same length and is listed in the section `smap_sites`; boot turns the NOPs into the instruction
//! before the kernel's code becomes read-only for good.

use core::ptr::addr_of;

/// A NOP of three bytes, and a line in the section that names the instruction to put there.
macro_rules! site {
    ($instruction:literal) => {
        concat!(
            "997: .byte 0x0f, 0x1f, 0x00\n",
            ".pushsection smap_sites,\"aR\",@progbits\n",
            ".p2align 2\n",
            ".long 997b - .\n",
            ".long ",
            $instruction,
            "\n.popsection\n"
        )
    };
}

/// For `asm!` and `concat!`: allow access to user pages until [`clac!`].
macro_rules! stac {
    () => {
        $crate::arch::smap::site!("0xcb010f")
    };
}

/// For `asm!` and `concat!`: forbid access to user pages.
macro_rules! clac {
    () => {
        $crate::arch::smap::site!("0xca010f")
    };
}

pub(crate) use {clac, site, stac};

/// A place for an instruction: the distance from this field to it, and its three bytes.
#[repr(C)]
struct Site {
    distance: i32,
    instruction: [u8; 4],
}

unsafe extern "C" {
    #[link_name = "__start_smap_sites"]
    static FIRST: Site;
    #[link_name = "__stop_smap_sites"]
    static END: Site;
}

/// Puts the instructions in if this processor has them. On the boot CPU, before the others start and before
/// the first `clac` matters.
pub(super) fn patch() {
    if !super::cpu::features().smap {
        return;
    }
    let (first, end) = (addr_of!(FIRST), addr_of!(END));
    // SAFETY: the linker makes the two symbols bound the section, which holds only whole `Site`s (the macros
    // above write them) and is never written.
    let sites = unsafe { core::slice::from_raw_parts(first, end.offset_from_unsigned(first)) };
    super::kernel_map::with_writable_text(|| {
        for site in sites {
            let target = core::ptr::from_ref(&site.distance).cast::<u8>();
            let target = target.wrapping_offset(site.distance as isize).cast_mut();
            let [a, b, c, _] = site.instruction;
            // SAFETY: the three bytes at `target` are the NOP that the macro put there. Write protection is off
            // (`with_writable_text`), no other CPU runs, and this code is not among the places changed.
            unsafe { target.cast::<[u8; 3]>().write_volatile([a, b, c]) };
        }
    });
}
