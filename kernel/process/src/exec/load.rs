//! Fills a new address space with a program: the pieces of its file, its interpreter, heap and stack.

use super::{
    image::{HEADER_SIZE, Header, Image, PAGE, Segment},
    layout::Layout,
    shared_clock,
    stack::{Facts, Stack},
};
use crate::restartable;
use alloc::{sync::Arc, vec, vec::Vec};
use base::{Credentials, Errno};
use linux_raw_sys::auxvec;
use machine::{cpu, fpu, random};
use memory::{AddressSpace, Limits, MapRequest, PageSource, Place, Protection, Sharing};
use vfs::{Caller, Follow, Mapping, OpenFile, Start};

/// Where the stack ends, before it is moved down by chance.
const STACK_TOP: u64 = 0x7fff_ffff_f000;
/// The stack that is mapped at first besides what exec puts there; more comes by growth.
const FIRST_STACK: u64 = 128 << 10;
/// Where programs go that can be anywhere, before they are moved up by chance.
const RELOCATABLE_BASE: u64 = 0x5555_5555_4000;
/// Nothing is loaded below, so that a null pointer stays one.
const LOWEST: u64 = 0x1_0000;

/// What is to be loaded.
pub(super) struct Plan<'a> {
    pub(super) caller: &'a Caller<'a>,
    pub(super) file: &'a Arc<OpenFile>,
    pub(super) name: &'a [u8],
    pub(super) arguments: &'a [Vec<u8>],
    pub(super) environment: &'a [Vec<u8>],
    pub(super) credentials: &'a Credentials,
    pub(super) secure: bool,
    pub(super) limits: Limits,
    /// Whether chance may decide where its parts lie.
    pub(super) may_be_random: bool,
}

/// A program that is ready to run.
pub(super) struct Loaded {
    pub(super) space: Arc<AddressSpace>,
    pub(super) entry: u64,
    pub(super) pointer: u64,
    pub(super) arguments: (u64, u64),
    pub(super) environment: (u64, u64),
    pub(super) vector: Vec<u8>,
}

/// Loads a program into a new address space. Errors as [`super::execute`].
pub(super) fn load(plan: &Plan<'_>) -> Result<Loaded, Errno> {
    let image = read_image(plan.file)?;
    let interpreter = match image.interpreter {
        Some(place) => Some(open_interpreter(plan, place)?),
        None => None,
    };
    let space = AddressSpace::new(plan.limits.stack)?;
    let layout = Layout::choose(plan.may_be_random);
    space.lower_top(layout.mappings);
    let bias = if image.relocatable { RELOCATABLE_BASE + layout.program - image.span().0 } else { 0 };
    map_image(&space, &image, plan.file, bias, &plan.limits)?;
    let end = image.span().1 + bias;
    space.set_brk_start(layout.heap_start(end, image.relocatable));
    let (mut entry, mut base) = (image.entry + bias, 0);
    if let Some((file, image)) = &interpreter {
        base = reserve(&space, image, &plan.limits)?;
        map_image(&space, image, file, base, &plan.limits)?;
        entry = image.entry + base;
    }
    let top = STACK_TOP - layout.stack;
    let shared_clock = shared_clock::map(&space, top, layout.shared_clock, &plan.limits)?;
    let credentials = plan.credentials;
    let vector = [
        (auxvec::AT_SYSINFO_EHDR, shared_clock),
        (auxvec::AT_HWCAP, u64::from(cpu::capability_word())),
        (auxvec::AT_PAGESZ, PAGE),
        (auxvec::AT_CLKTCK, 100),
        (auxvec::AT_PHDR, image.program_headers + bias),
        (auxvec::AT_PHENT, 56),
        (auxvec::AT_PHNUM, image.program_header_count.into()),
        (auxvec::AT_BASE, base),
        (auxvec::AT_FLAGS, 0),
        (auxvec::AT_ENTRY, image.entry + bias),
        (auxvec::AT_UID, credentials.uid.raw().into()),
        (auxvec::AT_EUID, credentials.euid.raw().into()),
        (auxvec::AT_GID, credentials.gid.raw().into()),
        (auxvec::AT_EGID, credentials.egid.raw().into()),
        (auxvec::AT_SECURE, plan.secure.into()),
        (auxvec::AT_RSEQ_FEATURE_SIZE, restartable::FEATURE_SIZE.into()),
        (auxvec::AT_RSEQ_ALIGN, restartable::AREA_SIZE.into()),
        (auxvec::AT_MINSIGSTKSZ, (fpu::state_size() + crate::signals::frame::FRAME_SIZE + 256) as u64),
    ];
    let mut own = [0; 16];
    random::fill(&mut own);
    let facts = Facts { random: own, path: plan.name, vector: &vector };
    let stack = Stack::new(top, plan.arguments, plan.environment, &facts);
    map_stack(&space, top, stack.length(), image.executable_stack, &plan.limits)?;
    stack.write(&mut |at, piece| space.write(at, piece))?;
    Ok(Loaded {
        space,
        entry,
        pointer: stack.pointer,
        arguments: stack.arguments,
        environment: stack.environment,
        vector: stack.vector,
    })
}

/// Reads exactly `length` bytes; `ENOEXEC` if the file is shorter.
fn read(file: &OpenFile, offset: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_program(&mut bytes[done..], offset + done as u64)? {
            0 => return Err(Errno::ENOEXEC),
            more => done += more,
        }
    }
    Ok(bytes)
}

fn read_image(file: &OpenFile) -> Result<Image, Errno> {
    let header = Header::parse(&read(file, 0, HEADER_SIZE)?)?;
    let table_end = header.table_offset().checked_add(header.table_size() as u64);
    if table_end.is_none_or(|end| end > i64::MAX as u64) {
        return Err(Errno::ENOEXEC);
    }
    let table = read(file, header.table_offset(), header.table_size())?;
    Image::parse(&header, &table, file.inode().metadata().size)
}

/// Opens the interpreter that a file names (`PT_INTERP`). `ELIBBAD` if it is no program itself.
fn open_interpreter(plan: &Plan<'_>, (offset, length): (u64, u64)) -> Result<(Arc<OpenFile>, Image), Errno> {
    let path = Image::interpreter_path(&read(plan.file, offset, length as usize)?)?;
    let file = plan.caller.open_program(Start::WorkingDirectory, path.as_bytes(), Follow::Yes)?;
    let _execution = file.begin_execution()?;
    let image = read_image(&file).map_err(|error| if error == Errno::ENOEXEC { Errno::ELIBBAD } else { error })?;
    Ok((file, image))
}

/// Finds room for an image that can be anywhere; its pieces then replace the reservation. Returns the load bias.
fn reserve(space: &AddressSpace, image: &Image, limits: &Limits) -> Result<u64, Errno> {
    let (start, end) = image.span();
    if !image.relocatable {
        return Ok(0);
    }
    let room = MapRequest { protection: Protection::empty(), ..MapRequest::anonymous(end - start) };
    Ok(space.map(room, limits)?.wrapping_sub(start))
}

fn map_image(
    space: &AddressSpace,
    image: &Image,
    file: &Arc<OpenFile>,
    bias: u64,
    limits: &Limits,
) -> Result<(), Errno> {
    let Mapping::Pages(pages) = file.program_pages()? else { return Err(Errno::ENOEXEC) };
    let (start, end) = image.span();
    let fits = start.wrapping_add(bias) >= LOWEST && end.checked_add(bias).is_some_and(|end| end <= STACK_TOP);
    if !fits {
        return Err(Errno::ENOEXEC);
    }
    image.segments.iter().try_for_each(|segment| map_segment(space, segment, &pages, bias, limits))
}

fn map_segment(
    space: &AddressSpace,
    segment: &Segment,
    pages: &Arc<dyn PageSource>,
    bias: u64,
    limits: &Limits,
) -> Result<(), Errno> {
    let mut protection = Protection::empty();
    protection.set(Protection::READ, segment.read);
    protection.set(Protection::WRITE, segment.write);
    protection.set(Protection::EXECUTE, segment.execute);
    let address = segment.address + bias;
    let start = address / PAGE * PAGE;
    let file_end = address + segment.file_size;
    let pages_end = if segment.file_size == 0 { start } else { file_end.next_multiple_of(PAGE) };
    let request = |address: u64, length: u64| MapRequest {
        address,
        protection,
        place: Place::Fixed,
        sharing: Sharing::Private,
        ..MapRequest::anonymous(length)
    };
    if pages_end > start {
        let source = Some((pages.clone(), segment.offset / PAGE * PAGE));
        space.map(MapRequest { source, ..request(start, pages_end - start) }, limits)?;
    }
    let end = (address + segment.memory_size).next_multiple_of(PAGE);
    if end > pages_end {
        space.map(request(pages_end, end - pages_end), limits)?;
    }
    let tail = tail_of_zeros(segment, file_end, pages_end);
    if tail > 0 {
        space.write(file_end, &vec![0; tail as usize])?;
    }
    Ok(())
}

/// How many bytes behind the segment's part of the file become zeros: where zeros follow at all, all to the end of the
/// page, even behind the segment. glibc's dynamic linker hands out that rest as memory that is zero.
fn tail_of_zeros(segment: &Segment, file_end: u64, pages_end: u64) -> u64 {
    let zeros_follow = segment.memory_size > segment.file_size && segment.file_size > 0;
    if segment.write && zeros_follow { pages_end.saturating_sub(file_end) } else { 0 }
}

fn map_stack(space: &AddressSpace, top: u64, used: u64, executable: bool, limits: &Limits) -> Result<(), Errno> {
    let length = (used + FIRST_STACK).next_multiple_of(PAGE);
    let mut request = MapRequest::anonymous(length);
    request.address = top - length;
    request.place = Place::Fixed;
    request.grows_down = true;
    request.name = Some("[stack]");
    request.protection.set(Protection::EXECUTE, executable);
    space.map(request, limits).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(file_size: u64, memory_size: u64, write: bool) -> Segment {
        Segment { address: 0x31900, offset: 0x31900, file_size, memory_size, read: true, write, execute: false }
    }

    #[test]
    fn where_zeros_follow_they_fill_the_page() {
        let tail = |segment: &Segment| {
            let end = segment.address + segment.file_size;
            tail_of_zeros(segment, end, end.next_multiple_of(PAGE))
        };
        assert_eq!(tail(&segment(0x2810, 0x29d8, true)), 0xef0, "behind the segment too");
        assert_eq!(tail(&segment(0x2810, 0x9000, true)), 0xef0);
        assert_eq!(tail(&segment(0x2810, 0x2810, true)), 0, "nothing but the file");
        assert_eq!(tail(&segment(0x2810, 0x29d8, false)), 0, "what may not be written stays as the file is");
        assert_eq!(tail(&segment(0, 0x1000, true)), 0, "no page of the file");
    }
}
