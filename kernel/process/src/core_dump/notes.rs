//! The notes of a core file: `struct elf_prstatus` and its like of x86-64, as bytes.

use crate::{
    signals::{Signal, SignalInfo, SignalSet, info},
    trace::record::words,
};
use alloc::vec::Vec;
use base::Errno;
use machine::user::Registers;

const PR_STATUS: u32 = 1;
const FLOATING_POINT: u32 = 2;
const PR_PS_INFO: u32 = 3;
const AUXILIARY_VECTOR: u32 = 6;
const X86_XSTATE: u32 = 0x202;
const SIGNAL_INFO: u32 = 0x5349_4749;
const FILES: u32 = 0x4649_4c45;

const CORE: &[u8] = b"CORE\0";
const LINUX: &[u8] = b"LINUX\0";

/// `struct elf_prstatus`.
const STATUS_SIZE: usize = 336;
/// `struct elf_prpsinfo`.
const PROCESS_SIZE: usize = 136;
/// The part of the FPU state that FXSAVE writes: `struct user_fpregs_struct`.
const LEGACY_SIZE: usize = 512;
/// Where debuggers look for the components (XCR0) that an FPU state can hold.
const COMPONENTS: usize = 464;
/// `PF_DUMPCORE` and `PF_SIGNALED`.
const TASK_FLAGS: u64 = 0x200 | 0x400;
/// Longer texts about mapped files are left out, as on Linux.
const FILES_MAX: usize = 4 << 20;

/// What a thread was doing when it came to rest.
#[derive(Clone, Debug, Default)]
pub(crate) struct ThreadRecord {
    pub(super) tid: i32,
    pub(super) registers: Registers,
    /// The system call that it came by; all ones for none.
    pub(super) call: u64,
    /// The bases of FS and GS.
    pub(super) bases: (u64, u64),
    /// XSAVE's standard form, or FXSAVE's.
    pub(super) floating_point: Vec<u8>,
    pub(super) pending: SignalSet,
    pub(super) blocked: SignalSet,
    /// User and system time, ns; of the thread with the process's number, those of all threads.
    pub(super) times: [u64; 2],
}

/// What the notes say of the process.
pub(super) struct ProcessRecord {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nice: i32,
    pub(super) name: Vec<u8>,
    /// The argument strings, each with its NUL.
    pub(super) arguments: Vec<u8>,
    pub(super) vector: Vec<u8>,
    /// User and system time of children that were waited for, ns.
    pub(super) children_times: [u64; 2],
    /// The components of FPU states; 0 without XSAVE.
    pub(super) components: u64,
}

/// A mapped file.
pub(super) struct MappedFile {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Where in the file the area begins, in pages.
    pub(super) page: u64,
    pub(super) path: Vec<u8>,
}

/// All notes in Linux's order: the thread that took the signal first, with what concerns the process behind its status.
/// `ENOMEM`.
pub(super) fn all(
    process: &ProcessRecord,
    threads: &[ThreadRecord],
    signal: &SignalInfo,
    files: &[MappedFile],
) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    for (index, thread) in threads.iter().enumerate() {
        push(&mut out, CORE, PR_STATUS, &status(process, thread, signal.signal))?;
        if index == 0 {
            push(&mut out, CORE, PR_PS_INFO, &process_information(process))?;
            push(&mut out, CORE, SIGNAL_INFO, &signal.to_bytes())?;
            push(&mut out, CORE, AUXILIARY_VECTOR, &process.vector)?;
            if let Some(text) = files_text(files) {
                push(&mut out, CORE, FILES, &text)?;
            }
        }
        if let Some(legacy) = thread.floating_point.get(..LEGACY_SIZE) {
            push(&mut out, CORE, FLOATING_POINT, legacy)?;
        }
        if thread.floating_point.len() > LEGACY_SIZE {
            let start = out.len();
            push(&mut out, LINUX, X86_XSTATE, &thread.floating_point)?;
            let state = start + header_size(LINUX);
            out[state + COMPONENTS..][..8].copy_from_slice(&process.components.to_le_bytes());
        }
    }
    Ok(out)
}

fn header_size(name: &[u8]) -> usize {
    12 + name.len().next_multiple_of(4)
}

fn push(out: &mut Vec<u8>, name: &[u8], kind: u32, content: &[u8]) -> Result<(), Errno> {
    out.try_reserve(header_size(name) + content.len().next_multiple_of(4)).map_err(|_| Errno::ENOMEM)?;
    for word in [name.len() as u32, content.len() as u32, kind] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for part in [name, content] {
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    Ok(())
}

/// A structure that is filled in by offset.
struct Bytes<const SIZE: usize>([u8; SIZE]);

impl<const SIZE: usize> Bytes<SIZE> {
    fn put(&mut self, at: usize, value: &[u8]) {
        self.0[at..at + value.len()].copy_from_slice(value);
    }

    fn words(&mut self, at: usize, values: &[u64]) {
        for (index, value) in values.iter().enumerate() {
            self.put(at + 8 * index, &value.to_le_bytes());
        }
    }

    fn numbers(&mut self, at: usize, values: &[i32]) {
        for (index, value) in values.iter().enumerate() {
            self.put(at + 4 * index, &value.to_le_bytes());
        }
    }
}

/// `struct timeval`s of times in ns.
fn times<const COUNT: usize>(nanoseconds: [u64; COUNT]) -> impl Iterator<Item = u64> {
    nanoseconds.into_iter().flat_map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000 / 1000])
}

fn status(process: &ProcessRecord, thread: &ThreadRecord, signal: Signal) -> [u8; STATUS_SIZE] {
    let mut out = Bytes([0; STATUS_SIZE]);
    let number = signal.number();
    out.numbers(0, &[number.into(), 0, 0]);
    out.put(12, &u16::from(number).to_le_bytes());
    out.words(16, &[thread.pending.bits(), thread.blocked.bits()]);
    out.numbers(32, &[thread.tid, process.parent, process.group, process.session]);
    let all = [thread.times[0], thread.times[1], process.children_times[0], process.children_times[1]];
    for (index, word) in times(all).enumerate() {
        out.words(48 + 8 * index, &[word]);
    }
    out.words(112, &words(&thread.registers, thread.call, thread.bases));
    out.numbers(328, &[i32::from(!thread.floating_point.is_empty())]);
    out.0
}

fn process_information(process: &ProcessRecord) -> [u8; PROCESS_SIZE] {
    const NAME: usize = 15;
    const ARGUMENTS: usize = 79;
    let mut out = Bytes([0; PROCESS_SIZE]);
    // It runs: state 0.
    out.put(1, b"R");
    out.put(3, &(process.nice as i8).to_le_bytes());
    out.words(8, &[TASK_FLAGS]);
    out.put(16, &process.uid.to_le_bytes());
    out.put(20, &process.gid.to_le_bytes());
    out.numbers(24, &[process.pid, process.parent, process.group, process.session]);
    out.put(40, &process.name[..process.name.len().min(NAME)]);
    for (index, &byte) in process.arguments.iter().take(ARGUMENTS).enumerate() {
        out.put(56 + index, &[if byte == 0 { b' ' } else { byte }]);
    }
    out.0
}

/// `NT_FILE`: count, page size, three words for each area, the names. `None`: too long, or no memory.
fn files_text(files: &[MappedFile]) -> Option<Vec<u8>> {
    let size = files.iter().fold(16, |size, file| size + 24 + file.path.len() + 1);
    let mut out = memory::heap::try_vec(size).ok().filter(|_| size <= FILES_MAX)?;
    let mut word = |value: u64| out.extend_from_slice(&value.to_le_bytes());
    word(files.len() as u64);
    word(4096);
    files.iter().for_each(|file| [file.start, file.end, file.page].into_iter().for_each(&mut word));
    for file in files {
        out.extend_from_slice(&file.path);
        out.push(0);
    }
    Some(out)
}

const _: () = assert!(info::SIZE == 128);

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn process() -> ProcessRecord {
        ProcessRecord {
            pid: 7,
            parent: 1,
            group: 7,
            session: 5,
            uid: 1000,
            gid: 100,
            nice: -5,
            name: b"sleeper".to_vec(),
            arguments: b"sleeper\x00100\x00".to_vec(),
            vector: vec![9; 32],
            children_times: [0, 3_000_004_999],
            components: 7,
        }
    }

    fn thread(tid: i32, size: usize) -> ThreadRecord {
        let registers = Registers { rip: 0x1234, rax: 1, rdi: 2, ..Registers::default() };
        ThreadRecord {
            tid,
            registers,
            call: 35,
            bases: (0x7000, 0),
            floating_point: vec![1; size],
            times: [1_500_000_000, 0],
            ..ThreadRecord::default()
        }
    }

    fn number(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn word(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// Names, kinds and contents.
    fn read(mut bytes: &[u8]) -> Vec<(Vec<u8>, u32, Vec<u8>)> {
        let mut notes = Vec::new();
        while !bytes.is_empty() {
            let [name, content, kind] = [0, 4, 8].map(|at| number(bytes, at) as usize);
            let content_at = 12 + name.next_multiple_of(4);
            let end = content_at + content.next_multiple_of(4);
            notes.push((bytes[12..12 + name].to_vec(), kind as u32, bytes[content_at..content_at + content].to_vec()));
            bytes = &bytes[end..];
        }
        notes
    }

    #[test]
    fn the_first_thread_carries_what_concerns_the_process() {
        let files = [MappedFile { start: 0x1000, end: 0x3000, page: 2, path: b"/bin/x".to_vec() }];
        let signal = SignalInfo::fault(Signal::SEGV, 1, 0xdead);
        let bytes = all(&process(), &[thread(8, 832), thread(7, 512)], &signal, &files).unwrap();
        let notes = read(&bytes);
        let kinds: Vec<u32> = notes.iter().map(|note| note.1).collect();
        assert_eq!(kinds, [1, 3, SIGNAL_INFO, 6, FILES, 2, X86_XSTATE, 1, 2]);
        assert!(notes.iter().all(|note| note.0 == if note.1 == X86_XSTATE { LINUX } else { CORE }));
        let status = &notes[0].2;
        assert_eq!(status.len(), 336);
        assert_eq!((number(status, 0), status[12], number(status, 32), number(status, 44)), (11, 11, 8, 5));
        assert_eq!([48, 56, 96, 104].map(|at| word(status, at)), [1, 500_000, 3, 4]);
        assert_eq!(word(status, 112 + 8 * 15), 35, "the call");
        assert_eq!(word(status, 112 + 8 * 16), 0x1234, "the next instruction");
        assert_eq!(word(status, 112 + 8 * 21), 0x7000, "the thread pointer");
        let about = &notes[1].2;
        assert_eq!((about.len(), about[1], about[3] as i8, number(about, 24)), (136, b'R', -5, 7));
        assert_eq!(&about[40..48], b"sleeper\0");
        assert_eq!(&about[56..69], b"sleeper 100 \0");
        assert_eq!(word(&notes[2].2, 16), 0xdead);
        let text = &notes[4].2;
        assert_eq!([0, 8, 16, 24, 32].map(|at| word(text, at)), [1, 4096, 0x1000, 0x3000, 2]);
        assert_eq!(&text[40..], b"/bin/x\0");
        assert_eq!((notes[5].2.len(), notes[6].2.len(), word(&notes[6].2, COMPONENTS)), (512, 832, 7));
    }
}
