//! The vDSO as programs meet it: read as an ELF file, and mapped into this very process behind a clock of our own.

use elf::{ElfBytes, abi, endian::LittleEndian};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
use std::arch::x86_64::_rdtsc;
use std::ptr::{null_mut, with_exposed_provenance};
use vdso::clock::{Clock, PAGE_SIZE, SECOND};

const CALLS: [&str; 5] =
    ["__vdso_clock_gettime", "__vdso_clock_getres", "__vdso_gettimeofday", "__vdso_time", "__vdso_getcpu"];

fn image() -> ElfBytes<'static, LittleEndian> {
    ElfBytes::minimal_parse(vdso::IMAGE).unwrap()
}

/// Where a call lies in the image.
fn address(call: &str) -> usize {
    let common = image().find_common_data().unwrap();
    let (symbols, names) = (common.dynsyms.unwrap(), common.dynsyms_strs.unwrap());
    let (_, symbol) = common.gnu_hash.unwrap().find(call.as_bytes(), &symbols, &names).unwrap().unwrap();
    symbol.st_value as usize
}

#[test]
fn both_tables_find_each_call_in_version_linux_2_6() {
    let image = image();
    let common = image.find_common_data().unwrap();
    let (symbols, names) = (common.dynsyms.unwrap(), common.dynsyms_strs.unwrap());
    let versions = image.symbol_version_table().unwrap().unwrap();
    for call in CALLS {
        let (index, symbol) =
            common.gnu_hash.as_ref().unwrap().find(call.as_bytes(), &symbols, &names).unwrap().unwrap();
        let other = common.sysv_hash.as_ref().unwrap().find(call.as_bytes(), &symbols, &names).unwrap().unwrap();
        assert_eq!(other.0, index, "{call}");
        assert_eq!((symbol.st_symtype(), symbol.st_bind()), (abi::STT_FUNC, abi::STB_GLOBAL), "{call}");
        let version = versions.get_definition(index).unwrap().unwrap();
        assert_eq!(version.names.map(Result::unwrap).next(), Some("LINUX_2.6"), "{call}");
        assert!(!version.hidden, "{call}");
    }
    let functions = symbols.iter().filter(|symbol| symbol.st_symtype() == abi::STT_FUNC).count();
    assert_eq!(functions, CALLS.len(), "nothing else is offered");
}

#[test]
fn it_is_one_piece_that_nobody_has_to_change() {
    let image = image();
    let pieces: Vec<_> = image.segments().unwrap().iter().collect();
    let loaded: Vec<_> = pieces.iter().filter(|piece| piece.p_type == abi::PT_LOAD).collect();
    let [piece] = loaded[..] else { panic!("{} loadable pieces", loaded.len()) };
    assert_eq!((piece.p_offset, piece.p_vaddr, piece.p_flags), (0, 0, abi::PF_R | abi::PF_X));
    assert_eq!(piece.p_filesz, piece.p_memsz);
    assert!(piece.p_memsz <= vdso::IMAGE.len() as u64);
    for inside in pieces.iter().filter(|piece| piece.p_type != abi::PT_GNU_STACK) {
        assert!(inside.p_offset + inside.p_filesz <= piece.p_filesz, "a piece of kind {:#x}", inside.p_type);
    }
    let dynamic = image.find_common_data().unwrap().dynamic.unwrap();
    let tags: Vec<i64> = dynamic.iter().map(|entry| entry.d_tag).collect();
    for forbidden in [abi::DT_RELA, abi::DT_REL, abi::DT_JMPREL, abi::DT_NEEDED, abi::DT_TEXTREL, abi::DT_INIT] {
        assert!(!tags.contains(&forbidden), "tag {forbidden:#x}");
    }
    for wanted in [abi::DT_HASH, abi::DT_GNU_HASH, abi::DT_STRTAB, abi::DT_SYMTAB, abi::DT_VERSYM, abi::DT_VERDEF] {
        assert!(tags.contains(&wanted), "tag {wanted:#x}");
    }
    let soname = dynamic.iter().find(|entry| entry.d_tag == abi::DT_SONAME).unwrap().d_val();
    let names = image.find_common_data().unwrap().dynsyms_strs.unwrap();
    assert_eq!(names.get(soname as usize).unwrap(), "linux-vdso.so.1");
}

/// The image in memory, and its clock.
struct Mapped {
    base: usize,
    clock: &'static Clock,
}

impl Mapped {
    fn new() -> Self {
        let length = PAGE_SIZE + vdso::IMAGE.len().next_multiple_of(PAGE_SIZE);
        // SAFETY: fresh memory, which stays until the process ends: the clock in its first page is shared with the code
        // behind it, and is made of atomics.
        unsafe {
            let memory =
                mmap_anonymous(null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE).unwrap();
            let image = memory.byte_add(PAGE_SIZE);
            image.cast::<u8>().copy_from_nonoverlapping(vdso::IMAGE.as_ptr(), vdso::IMAGE.len());
            mprotect(image, length - PAGE_SIZE, MprotectFlags::READ | MprotectFlags::EXEC).unwrap();
            Self { base: image.expose_provenance(), clock: &*memory.cast::<Clock>() }
        }
    }

    fn call(&self, name: &str, first: usize, second: usize) -> i64 {
        let code = with_exposed_provenance::<()>(self.base + address(name));
        // SAFETY: the symbol says that this function of the image lies there; all of them take up to two words.
        let function: unsafe extern "C" fn(usize, usize) -> i64 = unsafe { core::mem::transmute(code) };
        // SAFETY: the tests give null or room for two words.
        unsafe { function(first, second) }
    }

    /// `clock_gettime`.
    fn time(&self, clock: i32) -> (i32, i64, i64) {
        let mut out = [-1i64; 2];
        let result = self.call("__vdso_clock_gettime", clock as usize, out.as_mut_ptr().expose_provenance()) as i32;
        (result, out[0], out[1])
    }
}

/// A counter that began a while ago: 2.5 ns a cycle, and an epoch.
fn running() -> Mapped {
    let mapped = Mapped::new();
    // SAFETY: reading the counter has no effect.
    mapped.clock.set_start(unsafe { _rdtsc() }.wrapping_sub(40_000_000_000));
    mapped.clock.set_factor(5 << 31);
    mapped.clock.set_epoch(1_700_000_000 * SECOND);
    mapped
}

#[test]
fn the_code_reads_the_clock_before_it() {
    let mapped = running();
    for clock in [0, 1, 4, 5, 6, 7, 11] {
        // SAFETY: reading the counter has no effect.
        let before = mapped.clock.reading(clock, || unsafe { _rdtsc() }).unwrap();
        let (result, seconds, nanoseconds) = mapped.time(clock);
        // SAFETY: as before.
        let after = mapped.clock.reading(clock, || unsafe { _rdtsc() }).unwrap();
        assert_eq!(result, 0, "clock {clock}");
        assert!((0..SECOND as i64).contains(&nanoseconds), "clock {clock}");
        let shown = seconds as u64 * SECOND + nanoseconds as u64;
        assert!((before..=after).contains(&shown), "clock {clock}: {shown} is not in {before}..={after}");
    }
}

#[test]
fn a_clock_that_is_set_shows_at_once() {
    let mapped = running();
    mapped.clock.set_epoch(3_000_000_000 * SECOND);
    let mut second = 0i64;
    let returned = mapped.call("__vdso_time", (&raw mut second).expose_provenance(), 0);
    assert!((3_000_000_100..3_000_000_300).contains(&second), "{second}");
    assert_eq!(returned, second);
    let mut day = [0i64; 2];
    assert_eq!(mapped.call("__vdso_gettimeofday", day.as_mut_ptr().expose_provenance(), 0) as i32, 0);
    assert!((second..second + 2).contains(&day[0]) && (0..1_000_000).contains(&day[1]), "{day:?}");
    assert_eq!(mapped.call("__vdso_gettimeofday", 0, 0) as i32, 0, "nothing need be asked for");
}

#[test]
fn other_clocks_go_to_the_system_call() {
    let mapped = running();
    let (result, seconds, nanoseconds) = mapped.time(3); // the thread's CPU time
    assert_eq!(result, 0);
    assert!(seconds >= 0 && (0..SECOND as i64).contains(&nanoseconds));
    const EINVAL: i32 = 22;
    assert_eq!(mapped.time(77).0, -EINVAL);
    assert_eq!(mapped.call("__vdso_clock_getres", 77, 0) as i32, -EINVAL);
    let mut resolution = [5i64; 2];
    assert_eq!(mapped.call("__vdso_clock_getres", 1, resolution.as_mut_ptr().expose_provenance()) as i32, 0);
    assert_eq!(resolution, [0, 1]);
    assert_eq!(mapped.call("__vdso_clock_getres", 1, 0) as i32, 0);
}
