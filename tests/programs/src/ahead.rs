//! How many pages the first store to large memory brings in, by what the program says about it.

use std::{fs, io, ptr};

const PAGE: usize = 4096;
/// What an area must cover so that several pages may come in at a time, and start at a multiple of.
const LARGE: usize = 2 << 20;

/// Maps memory, has it advised, stores to one page of it and says whether others came too.
fn come(advice: Option<i32>) -> io::Result<&'static str> {
    // SAFETY: a new mapping at an address of the kernel's choice; what is used of it lies inside, and it is unmapped at
    // the end.
    unsafe {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        let start = libc::mmap(ptr::null_mut(), 2 * LARGE, rights, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let large = start.map_addr(|address| address.next_multiple_of(LARGE));
        if advice.is_some_and(|advice| libc::madvise(large, LARGE, advice) != 0) {
            return Err(io::Error::last_os_error());
        }
        large.byte_add(LARGE / 2).cast::<u8>().write_volatile(1);
        let mut there = [0_u8; LARGE / PAGE];
        if libc::mincore(large, LARGE, there.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::munmap(start, 2 * LARGE);
        Ok(if there.iter().filter(|&&there| there & 1 != 0).count() > 1 { "together" } else { "alone" })
    }
}

/// `prctl` with `first` and zeros.
fn prctl(operation: i32, first: u64) -> i32 {
    // SAFETY: these operations take numbers only.
    unsafe { libc::prctl(operation, first, 0_u64, 0_u64, 0_u64) }
}

fn all() -> io::Result<()> {
    for mode in ["always", "madvise", "never"] {
        fs::write("/sys/kernel/mm/transparent_hugepage/enabled", mode)?;
        let [plain, wanted, refused] = [None, Some(libc::MADV_HUGEPAGE), Some(libc::MADV_NOHUGEPAGE)].map(come);
        println!("{mode}: {}, wanted {}, refused {}", plain?, wanted?, refused?);
    }
    fs::write("/sys/kernel/mm/transparent_hugepage/enabled", "always")?;
    println!("disabled: {}", prctl(libc::PR_SET_THP_DISABLE, 1));
    println!("wanted {}, disabled {}", come(Some(libc::MADV_HUGEPAGE))?, prctl(libc::PR_GET_THP_DISABLE, 0));
    println!("bad arguments: {}", prctl(libc::PR_GET_THP_DISABLE, 1));
    println!("enabled: {}", prctl(libc::PR_SET_THP_DISABLE, 0));
    println!("{}", come(None)?);
    Ok(())
}

/// Says it for every mode of the system, every advice, and a program that wants none at all.
pub fn run() -> bool {
    all().inspect_err(|error| println!("{error}")).is_ok()
}
