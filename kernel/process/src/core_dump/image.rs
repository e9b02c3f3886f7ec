//! A core file as a whole: ELF header, program headers, notes, memory; and which memory is in it.

use super::notes::MappedFile;
use alloc::vec::Vec;
use base::Errno;
use memory::{AddressSpace, AreaFlags, AreaInfo, Protection, Sharing};

/// Bytes in a page.
pub(super) const PAGE: u64 = 4096;

const HEADER_SIZE: u64 = 64;
const PROGRAM_HEADER_SIZE: u64 = 56;
const SECTION_HEADER_SIZE: u64 = 64;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// What notes are aligned to. Linux says so since 6.7, and 0 before.
const NOTE_ALIGNMENT: u64 = 4;
/// `PN_XNUM`: the number of program headers stands in the first section header.
const MANY: u64 = 0xffff;

bitflags::bitflags! {
    /// `/proc/PID/coredump_filter`: which memory is in a core (core(5)).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Filter: u32 {
        /// Private memory that was stored to.
        const ANONYMOUS_PRIVATE = 1;
        /// Shared memory of files without a name.
        const ANONYMOUS_SHARED = 2;
        /// Private mappings of files.
        const FILE_PRIVATE = 4;
        /// Shared mappings of files.
        const FILE_SHARED = 8;
        /// The first page of ELF files.
        const ELF_HEADERS = 16;
        /// Private huge pages, which there are none of.
        const HUGE_PRIVATE = 32;
        /// Shared huge pages.
        const HUGE_SHARED = 64;
        /// Private pages of devices that are memory.
        const DEVICE_PRIVATE = 128;
        /// Shared pages of such devices.
        const DEVICE_SHARED = 256;
    }
}

impl Filter {
    /// What pid 1 has.
    pub const INITIAL: Self = Self::from_bits_truncate(0x33);
}

/// How much of an area is in a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    All,
    Nothing,
    /// The first page, if an ELF file begins there.
    Header,
}

/// The rule of Linux's `vma_dump_size`. `was_stored_to`: it has pages of the program's own.
fn part_of(area: &AreaInfo, was_stored_to: bool, filter: Filter) -> Part {
    let when = |wanted: Filter| if filter.contains(wanted) { Part::All } else { Part::Nothing };
    if area.name == Some("[vdso]") {
        return Part::All;
    }
    if area.flags.contains(AreaFlags::DONT_DUMP) {
        return Part::Nothing;
    }
    if area.sharing == Sharing::Shared {
        let has_name = area.source.as_ref().is_some_and(|source| !source.path.ends_with(b" (deleted)"));
        return when(if has_name { Filter::FILE_SHARED } else { Filter::ANONYMOUS_SHARED });
    }
    if was_stored_to && filter.contains(Filter::ANONYMOUS_PRIVATE) {
        return Part::All;
    }
    if area.source.is_none() {
        return Part::Nothing;
    }
    if filter.contains(Filter::FILE_PRIVATE) {
        return Part::All;
    }
    let header = filter.contains(Filter::ELF_HEADERS) && area.offset == 0 && area.protection.contains(Protection::READ);
    if header { Part::Header } else { Part::Nothing }
}

/// A part of memory in a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) start: u64,
    end: u64,
    /// How many bytes of it are in the file.
    pub(super) bytes: u64,
    protection: Protection,
}

/// Room for a page. `ENOMEM`.
pub(super) fn page() -> Result<Vec<u8>, Errno> {
    let mut page = memory::heap::try_vec(PAGE as usize)?;
    page.resize(PAGE as usize, 0);
    Ok(page)
}

/// The areas of a space as they are dumped, and the files among them. `ENOMEM`.
pub(super) fn segments(space: &AddressSpace, filter: Filter) -> Result<(Vec<Segment>, Vec<MappedFile>), Errno> {
    let (mut segments, mut files) = (Vec::new(), Vec::new());
    let mut page = page()?;
    for area in space.areas() {
        let was_stored_to = area.sharing == Sharing::Private && space.weigh_pages(area.start..area.end).anonymous > 0;
        let bytes = match part_of(&area, was_stored_to, filter) {
            Part::All => area.end - area.start,
            Part::Nothing => 0,
            Part::Header => {
                let page = page.first_chunk_mut().ok_or(Errno::ENOMEM)?;
                let is_elf = space.dump_page(area.start, page) && page.starts_with(b"\x7fELF");
                if is_elf { PAGE } else { 0 }
            }
        };
        segments.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        segments.push(Segment { start: area.start, end: area.end, bytes, protection: area.protection });
        if let Some(source) = area.source.filter(|_| area.name != Some("[vdso]")) {
            files.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            files.push(MappedFile { start: area.start, end: area.end, page: area.offset / PAGE, path: source.path });
        }
        sched::give_way();
    }
    Ok((segments, files))
}

/// Where the parts of a core file lie.
pub(super) struct Layout {
    segments: u64,
    notes: u64,
    /// Where memory begins.
    pub(super) memory: u64,
    /// The bytes of memory.
    bytes: u64,
}

impl Layout {
    /// The layout for these segments and so many bytes of notes.
    pub(super) fn new(segments: &[Segment], notes: usize) -> Self {
        let count = segments.len() as u64;
        let start = HEADER_SIZE + PROGRAM_HEADER_SIZE * (count + 1) + notes as u64;
        let bytes = segments.iter().map(|segment| segment.bytes).sum();
        Self { segments: count, notes: notes as u64, memory: start.next_multiple_of(PAGE), bytes }
    }

    fn headers(&self) -> u64 {
        self.segments + 1
    }

    /// `Elf64_Ehdr`.
    pub(super) fn header(&self) -> [u8; HEADER_SIZE as usize] {
        let mut out = [0; HEADER_SIZE as usize];
        let mut put = |at: usize, value: &[u8]| out[at..at + value.len()].copy_from_slice(value);
        // 64 bits, little-endian, version 1.
        put(0, b"\x7fELF\x02\x01\x01");
        // A core for x86-64, version 1.
        put(16, &4u16.to_le_bytes());
        put(18, &62u16.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(32, &HEADER_SIZE.to_le_bytes());
        put(52, &(HEADER_SIZE as u16).to_le_bytes());
        put(54, &(PROGRAM_HEADER_SIZE as u16).to_le_bytes());
        put(56, &(self.headers().min(MANY) as u16).to_le_bytes());
        if self.has_section() {
            put(40, &(self.memory + self.bytes).to_le_bytes());
            put(58, &(SECTION_HEADER_SIZE as u16).to_le_bytes());
            put(60, &1u16.to_le_bytes());
        }
        out
    }

    /// The program header of the notes.
    pub(super) fn note_header(&self) -> [u8; PROGRAM_HEADER_SIZE as usize] {
        let offset = HEADER_SIZE + PROGRAM_HEADER_SIZE * self.headers();
        program_header(NOTE, 0, [offset, 0, self.notes, 0, NOTE_ALIGNMENT])
    }

    /// Whether there are so many program headers that a section header says how many.
    pub(super) fn has_section(&self) -> bool {
        self.headers() >= MANY
    }

    /// That `Elf64_Shdr`, which stands at the end.
    pub(super) fn section(&self) -> [u8; SECTION_HEADER_SIZE as usize] {
        let mut out = [0; SECTION_HEADER_SIZE as usize];
        out[32..40].copy_from_slice(&1u64.to_le_bytes());
        out[44..48].copy_from_slice(&(self.headers() as u32).to_le_bytes());
        out
    }
}

/// The program header of a segment that lies at `offset` in the file.
pub(super) fn segment_header(segment: &Segment, offset: u64) -> [u8; PROGRAM_HEADER_SIZE as usize] {
    let flag = |right, flag| if segment.protection.contains(right) { flag } else { 0 };
    let flags = flag(Protection::EXECUTE, 1) | flag(Protection::WRITE, 2) | flag(Protection::READ, 4);
    program_header(LOAD, flags, [offset, segment.start, segment.bytes, segment.end - segment.start, PAGE])
}

/// `Elf64_Phdr`: offset, address, bytes in the file, bytes in memory, alignment.
fn program_header(kind: u32, flags: u32, words: [u64; 5]) -> [u8; PROGRAM_HEADER_SIZE as usize] {
    let mut out = [0; PROGRAM_HEADER_SIZE as usize];
    out[..4].copy_from_slice(&kind.to_le_bytes());
    out[4..8].copy_from_slice(&flags.to_le_bytes());
    let [offset, address, in_file, in_memory, alignment] = words;
    for (place, word) in out[8..].chunks_exact_mut(8).zip([offset, address, 0, in_file, in_memory, alignment]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use memory::SourceDescription;

    fn area(sharing: Sharing, path: Option<&str>) -> AreaInfo {
        AreaInfo {
            start: 0x1000,
            end: 0x5000,
            protection: Protection::READ | Protection::WRITE,
            most: Protection::all(),
            sharing,
            flags: AreaFlags::empty(),
            offset: 0,
            source: path.map(|path| SourceDescription { path: path.into(), device: (0, 1), inode: 3 }),
            policy: None,
            name: None,
        }
    }

    #[test]
    fn the_filter_chooses_as_core_5_says() {
        let parts = |area: &AreaInfo, stored: bool| {
            let each = Filter::all().iter().take(5).map(|one| part_of(area, stored, one));
            each.collect::<Vec<_>>()
        };
        use Part::{All, Header, Nothing};
        let private = area(Sharing::Private, None);
        assert_eq!(parts(&private, true), [All, Nothing, Nothing, Nothing, Nothing]);
        assert_eq!(parts(&private, false), [Nothing; 5], "never stored to");
        let file = area(Sharing::Private, Some("/bin/x"));
        assert_eq!(parts(&file, false), [Nothing, Nothing, All, Nothing, Header]);
        assert_eq!(parts(&file, true), [All, Nothing, All, Nothing, Header]);
        let shared = area(Sharing::Shared, Some("/tmp/x"));
        assert_eq!(parts(&shared, false), [Nothing, Nothing, Nothing, All, Nothing]);
        let nameless = area(Sharing::Shared, Some("/dev/zero (deleted)"));
        assert_eq!(parts(&nameless, false), [Nothing, All, Nothing, Nothing, Nothing]);
        let unwanted = AreaInfo { flags: AreaFlags::DONT_DUMP, ..private };
        assert_eq!(parts(&unwanted, true), [Nothing; 5]);
        let clock = AreaInfo { name: Some("[vdso]"), ..file };
        assert_eq!(parts(&clock, false), [All; 5]);
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn memory_begins_at_a_page_behind_headers_and_notes() {
        let one = Segment { start: 0x1000, end: 0x5000, bytes: 0x1000, protection: Protection::READ };
        let layout = Layout::new(&[one, one], 5000);
        assert_eq!(layout.memory, 8192);
        let header = layout.header();
        assert_eq!((word(&header, 32), word(&header, 40), header[56], header[60]), (64, 0, 3, 0));
        assert_eq!(word(&layout.note_header(), 8), 64 + 3 * 56);
        let load = segment_header(&one, layout.memory);
        assert_eq!([8, 16, 32, 40].map(|at| word(&load, at)), [8192, 0x1000, 0x1000, 0x4000]);
        assert_eq!((load[0], load[4]), (1, 4));
    }

    #[test]
    fn very_many_segments_are_counted_by_a_section() {
        let one = Segment { start: 0, end: 0x1000, bytes: 0x1000, protection: Protection::READ };
        let layout = Layout::new(&alloc::vec![one; 0xfffe], 4);
        let (header, section) = (layout.header(), layout.section());
        assert_eq!((header[56..58].to_vec(), header[60]), (alloc::vec![0xff, 0xff], 1));
        assert_eq!(word(&header, 40), layout.memory + 0xfffe * 0x1000);
        assert_eq!(u32::from_le_bytes(section[44..48].try_into().unwrap()), 0xffff);
        assert!(!Layout::new(&alloc::vec![one; 0xfffd], 4).has_section());
    }
}
