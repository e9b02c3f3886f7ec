//! What an ELF file says about the image it wants, checked: pure, no file and no address space.
//!
//! Anything that isn't a well-formed ELF64 executable for x86-64 is `ENOEXEC`, as on Linux.

use alloc::{string::String, vec::Vec};
use base::Errno;
use elf::{
    abi,
    endian::AnyEndian,
    file::{Class, FileHeader},
    parse::ParsingTable,
    segment::ProgramHeader,
};

/// The size of a page.
pub const PAGE: u64 = 4096;
/// The first address that a program can't have.
pub const USER_END: u64 = 0x7fff_ffff_f000;
/// The size of an ELF64 file header.
pub const HEADER_SIZE: usize = 64;
/// The size of a program header.
const PROGRAM_HEADER_SIZE: u16 = 56;
/// The most bytes of program headers, as Linux has it.
const MAX_PROGRAM_HEADERS: usize = 65536;
/// The longest interpreter path.
const MAX_INTERPRETER: u64 = 4096;

/// One piece of the file that is mapped. Addresses are relative to the load bias.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where its first byte goes.
    pub address: u64,
    /// Where it lies in the file; the same as `address` modulo the page size.
    pub offset: u64,
    /// Bytes from the file.
    pub file_size: u64,
    /// Bytes in memory; zero behind those of the file.
    pub memory_size: u64,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// May be executed.
    pub execute: bool,
}

/// Everything that exec needs from the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// The pieces, ascending, not overlapping, at least one.
    pub segments: Vec<Segment>,
    /// The first instruction, relative to the load bias.
    pub entry: u64,
    /// The address of the program headers in memory, relative to the load bias, or 0.
    pub program_headers: u64,
    /// How many program headers there are.
    pub program_header_count: u16,
    /// Whether it can be loaded anywhere (`ET_DYN`).
    pub relocatable: bool,
    /// Whether the stack must be executable.
    pub executable_stack: bool,
    /// Where the file names its interpreter: offset and length.
    pub interpreter: Option<(u64, u64)>,
}

/// The program header table's place in the file, from the first 64 bytes; then [`Image::parse`] wants its bytes.
pub struct Header {
    header: FileHeader<AnyEndian>,
}

impl Header {
    /// Checks a file header. `ENOEXEC`: not ELF64, little-endian, x86-64, executable or shared object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Errno> {
        let ident = bytes.get(..abi::EI_NIDENT).ok_or(Errno::ENOEXEC)?;
        let tail = bytes.get(abi::EI_NIDENT..HEADER_SIZE).ok_or(Errno::ENOEXEC)?;
        let ident = elf::file::parse_ident::<AnyEndian>(ident).map_err(|_| Errno::ENOEXEC)?;
        if ident.1 != Class::ELF64 || !matches!(ident.0, AnyEndian::Little) {
            return Err(Errno::ENOEXEC);
        }
        let header = FileHeader::parse_tail(ident, tail).map_err(|_| Errno::ENOEXEC)?;
        let fits = header.e_machine == abi::EM_X86_64
            && matches!(header.e_type, abi::ET_EXEC | abi::ET_DYN)
            && header.e_phentsize == PROGRAM_HEADER_SIZE
            && header.e_phnum > 0
            && usize::from(header.e_phnum) * usize::from(PROGRAM_HEADER_SIZE) <= MAX_PROGRAM_HEADERS;
        fits.then_some(Self { header }).ok_or(Errno::ENOEXEC)
    }

    /// Where the program headers lie in the file.
    pub fn table_offset(&self) -> u64 {
        self.header.e_phoff
    }

    /// How many bytes they take.
    pub fn table_size(&self) -> usize {
        usize::from(self.header.e_phnum) * usize::from(PROGRAM_HEADER_SIZE)
    }
}

impl Image {
    /// Checks the program headers, given as bytes, of a file of `file_size` bytes. `ENOEXEC` for anything that can't be
    /// loaded as it says: pieces outside the file or the address space, overlapping, unsorted, or none at all.
    pub fn parse(header: &Header, table: &[u8], file_size: u64) -> Result<Self, Errno> {
        let Header { header } = header;
        let mut image = Self {
            segments: Vec::new(),
            entry: header.e_entry,
            program_headers: 0,
            program_header_count: header.e_phnum,
            relocatable: header.e_type == abi::ET_DYN,
            executable_stack: false,
            interpreter: None,
        };
        let headers: ParsingTable<'_, AnyEndian, ProgramHeader> =
            ParsingTable::new(AnyEndian::Little, Class::ELF64, table);
        for program_header in headers.iter() {
            match program_header.p_type {
                abi::PT_LOAD => image.add_segment(&program_header, file_size)?,
                abi::PT_PHDR => image.program_headers = program_header.p_vaddr,
                abi::PT_GNU_STACK => image.executable_stack = program_header.p_flags & abi::PF_X != 0,
                abi::PT_INTERP => image.set_interpreter(&program_header, file_size)?,
                _ => {}
            }
        }
        if image.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        // Without PT_PHDR the headers are in memory if a piece of the file that holds them is.
        if image.program_headers == 0 {
            let size = table.len() as u64;
            let holder = image.segments.iter().find(|segment| {
                segment.offset <= header.e_phoff
                    && header.e_phoff.saturating_add(size) <= segment.offset + segment.file_size
            });
            image.program_headers = holder.map_or(0, |holder| holder.address + (header.e_phoff - holder.offset));
        }
        if image.entry >= USER_END || image.program_headers >= USER_END {
            return Err(Errno::ENOEXEC);
        }
        Ok(image)
    }

    fn add_segment(&mut self, header: &ProgramHeader, file_size: u64) -> Result<(), Errno> {
        let bad = Errno::ENOEXEC;
        if header.p_memsz == 0 {
            return Ok(());
        }
        let end = header.p_vaddr.checked_add(header.p_memsz).filter(|&end| end <= USER_END).ok_or(bad)?;
        let in_file = header.p_offset.checked_add(header.p_filesz).is_some_and(|end| end <= file_size);
        if header.p_filesz > header.p_memsz || !in_file || header.p_vaddr % PAGE != header.p_offset % PAGE {
            return Err(bad);
        }
        if let Some(last) = self.segments.last() {
            let last_end = (last.address + last.memory_size).next_multiple_of(PAGE);
            if header.p_vaddr / PAGE * PAGE < last_end {
                return Err(bad);
            }
        }
        // Rounding up to whole pages must not leave the address space.
        end.checked_next_multiple_of(PAGE).filter(|&end| end <= USER_END).ok_or(bad)?;
        self.segments.push(Segment {
            address: header.p_vaddr,
            offset: header.p_offset,
            file_size: header.p_filesz,
            memory_size: header.p_memsz,
            read: header.p_flags & abi::PF_R != 0,
            write: header.p_flags & abi::PF_W != 0,
            execute: header.p_flags & abi::PF_X != 0,
        });
        Ok(())
    }

    fn set_interpreter(&mut self, header: &ProgramHeader, file_size: u64) -> Result<(), Errno> {
        let in_file = header.p_offset.checked_add(header.p_filesz).is_some_and(|end| end <= file_size);
        if !in_file || !(2..=MAX_INTERPRETER).contains(&header.p_filesz) {
            return Err(Errno::ENOEXEC);
        }
        self.interpreter.get_or_insert((header.p_offset, header.p_filesz));
        Ok(())
    }

    /// The interpreter's path from the bytes that [`Self::interpreter`] names; `ENOEXEC` unless it ends with NUL.
    pub fn interpreter_path(bytes: &[u8]) -> Result<String, Errno> {
        let (&last, path) = bytes.split_last().ok_or(Errno::ENOEXEC)?;
        let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
        let text = String::from_utf8(path.to_vec()).map_err(|_| Errno::ENOEXEC)?;
        if last != 0 || text.is_empty() { Err(Errno::ENOEXEC) } else { Ok(text) }
    }

    /// The first page of the image and the first behind it, relative to the load bias.
    pub fn span(&self) -> (u64, u64) {
        let start = self.segments.first().map_or(0, |first| first.address / PAGE * PAGE);
        let end = self.segments.last().map_or(0, |last| (last.address + last.memory_size).next_multiple_of(PAGE));
        (start, end)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A small, correct executable: one read-execute and one read-write segment with zeroes behind.
    pub(crate) fn sample(kind: u16) -> Vec<u8> {
        let mut file = alloc::vec![0u8; 0x2100];
        file[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &kind.to_le_bytes());
        put(18, &62u16.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(24, &0x40_1000u64.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(52, &64u16.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &2u16.to_le_bytes());
        let mut segment = |at: usize, flags: u32, offset: u64, address: u64, file_size: u64, memory_size: u64| {
            put(at, &1u32.to_le_bytes());
            put(at + 4, &flags.to_le_bytes());
            for (index, value) in [offset, address, address, file_size, memory_size, PAGE].into_iter().enumerate() {
                put(at + 8 + index * 8, &value.to_le_bytes());
            }
        };
        segment(64, 5, 0, 0x40_0000, 0x1100, 0x1100);
        segment(120, 6, 0x1100, 0x40_2100, 0x1000, 0x3000);
        file
    }

    fn parse(file: &[u8]) -> Result<Image, Errno> {
        let header = Header::parse(file)?;
        let start = usize::try_from(header.table_offset()).map_err(|_| Errno::ENOEXEC)?;
        let end = start.checked_add(header.table_size()).ok_or(Errno::ENOEXEC)?;
        Image::parse(&header, file.get(start..end).ok_or(Errno::ENOEXEC)?, file.len() as u64)
    }

    #[test]
    fn a_correct_file_is_understood() {
        let image = parse(&sample(abi::ET_EXEC)).unwrap();
        assert_eq!(image.segments.len(), 2);
        assert_eq!(image.entry, 0x40_1000);
        assert_eq!(image.program_headers, 0x40_0040);
        assert_eq!(image.span(), (0x40_0000, 0x40_6000));
        assert!(!image.relocatable && !image.executable_stack);
        assert!(parse(&sample(abi::ET_DYN)).unwrap().relocatable);
    }

    #[test]
    fn another_machine_or_kind_is_refused() {
        for (at, byte) in [(0, 0), (4, 1), (5, 2), (16, 1), (16, 4), (18, 3), (18, 183), (54, 32), (56, 0)] {
            let mut file = sample(abi::ET_EXEC);
            file[at] = byte;
            assert_eq!(parse(&file), Err(Errno::ENOEXEC), "byte {at} = {byte}");
        }
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let file = sample(abi::ET_EXEC);
        for length in [0, 3, 16, 63, 64, 100, 0x1000, 0x20ff] {
            assert_eq!(parse(&file[..length]), Err(Errno::ENOEXEC), "{length} bytes");
        }
    }

    #[test]
    fn segments_that_overlap_or_leave_the_address_space_are_refused() {
        let with = |at: usize, value: u64| {
            let mut file = sample(abi::ET_EXEC);
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
            parse(&file)
        };
        assert_eq!(with(120 + 16, 0x40_1100), Err(Errno::ENOEXEC)); // same page as the first
        assert_eq!(with(120 + 16, u64::MAX - 0xfff + 0x100), Err(Errno::ENOEXEC));
        assert_eq!(with(120 + 40, u64::MAX), Err(Errno::ENOEXEC));
        assert_eq!(with(120 + 40, 0x10), Err(Errno::ENOEXEC)); // less memory than file
        assert_eq!(with(120 + 8, 0x1101), Err(Errno::ENOEXEC)); // offset and address disagree
        assert_eq!(with(24, u64::MAX), Err(Errno::ENOEXEC)); // entry outside
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_what_is_accepted_is_sound(
            patches in proptest::collection::vec((0usize..176, any::<u8>()), 0..40), length in 0usize..0x2200,
        ) {
            let mut file = sample(abi::ET_DYN);
            for (at, byte) in patches {
                file[at] = byte;
            }
            file.resize(length, 0);
            if let Ok(image) = parse(&file) {
                let mut end = 0;
                for segment in &image.segments {
                    prop_assert!(segment.address / PAGE * PAGE >= end);
                    end = (segment.address + segment.memory_size).next_multiple_of(PAGE);
                    prop_assert!(end <= USER_END);
                    prop_assert!(segment.offset + segment.file_size <= length as u64);
                    prop_assert!(segment.file_size <= segment.memory_size);
                }
            }
        }

        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assume!(bytes.get(..4) != Some(b"\x7fELF"));
            prop_assert_eq!(parse(&bytes), Err(Errno::ENOEXEC));
        }
    }
}
