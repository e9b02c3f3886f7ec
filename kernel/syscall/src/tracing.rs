//! `ptrace(2)`: what a tracer asks for, decoded.

use crate::{abi::IoVector, arguments::UserPtr, call::Call};
use alloc::vec;
use base::{Errno, Pid};
use linux_raw_sys::ptrace as request;
use machine::user_memory;
use process::{
    Task,
    filters::{check_sees_filters, facts},
    signals::SignalSet,
    trace::{
        Mode, Options, Tracee, record,
        requests::{self, CallStop},
        ties,
    },
};

/// Bytes of `struct user_regs_struct`.
const REGISTERS_SIZE: usize = 8 * record::WORDS;
/// Kinds of register sets (`NT_*`).
const GENERAL: u64 = 1;
const FLOATING_POINT: u64 = 2;
const EXTENDED: u64 = 0x202;
/// Bytes of `struct sock_filter` and of `struct seccomp_metadata`.
const INSTRUCTION_SIZE: usize = 8;
const METADATA_SIZE: usize = 16;
/// Bytes of `struct ptrace_syscall_info` that there are when a filter asks, at the beginning of a call, at its end, and else.
const FILTER_SIZE: usize = 84;
const ENTRY_SIZE: usize = 80;
const EXIT_SIZE: usize = 33;
const NO_CALL_SIZE: usize = 24;

/// `ptrace(2)`. Errors as the manual has them, in Linux's order: `ESRCH` comes before what is wrong with arguments.
pub fn ptrace(call: &Call<'_>, wanted: u64, tid: i32, address: u64, data: u64) -> Result<usize, Errno> {
    // Linux takes the number as it is: one beyond 32 bits is none.
    let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
    let task = call.task;
    match wanted {
        request::PTRACE_TRACEME => ties::trace_me(task)?,
        request::PTRACE_ATTACH | request::PTRACE_SEIZE => {
            let other = (tid > 0).then(|| call.population().task(Pid::new(tid))).flatten().ok_or(Errno::ESRCH)?;
            let seizes = wanted == request::PTRACE_SEIZE;
            if seizes && address != 0 {
                return Err(Errno::EIO);
            }
            let options = seizes.then(|| Options::from_argument(data).ok_or(Errno::EIO)).transpose()?;
            options.map_or(Ok(()), |options| options.check(task))?;
            ties::attach(task, &other, options)?;
        }
        request::PTRACE_KILL => requests::kill(task, tid)?,
        request::PTRACE_INTERRUPT => requests::interrupt(task, tid)?,
        _ => return of_stopped(task, &requests::stopped(task, tid)?, wanted, address, data),
    }
    Ok(0)
}

fn of_stopped(tracer: &Task, tracee: &Tracee, wanted: u32, address: u64, data: u64) -> Result<usize, Errno> {
    match wanted {
        request::PTRACE_CONT => tracee.resume(Mode::Continue, data)?,
        request::PTRACE_SYSCALL => tracee.resume(Mode::Calls, data)?,
        request::PTRACE_SINGLESTEP => tracee.resume(Mode::Step, data)?,
        request::PTRACE_SYSEMU => tracee.resume(Mode::Emulate, data)?,
        request::PTRACE_SYSEMU_SINGLESTEP => tracee.resume(Mode::EmulateStep, data)?,
        request::PTRACE_DETACH => tracee.detach(data)?,
        request::PTRACE_LISTEN => tracee.listen()?,
        request::PTRACE_SETOPTIONS | request::PTRACE_OLDSETOPTIONS => tracee.set_options(tracer, data)?,
        request::PTRACE_GETEVENTMSG => UserPtr::at(data).write(&tracee.message())?,
        request::PTRACE_PEEKTEXT | request::PTRACE_PEEKDATA => {
            let mut word = [0; 8];
            tracee.space()?.read_forced(address, &mut word).map_err(|_| Errno::EIO)?;
            user_memory::write(data, &word)?;
        }
        request::PTRACE_POKETEXT | request::PTRACE_POKEDATA => {
            tracee.space()?.write_forced(address, &data.to_le_bytes()).map_err(|_| Errno::EIO)?;
        }
        request::PTRACE_PEEKUSR => {
            UserPtr::at(data).write(&tracee.user_word(address)?)?;
        }
        request::PTRACE_POKEUSR => tracee.set_user_word(address, data)?,
        request::PTRACE_GETREGS => registers(tracee, data, REGISTERS_SIZE)?,
        request::PTRACE_SETREGS => set_registers(tracee, data, REGISTERS_SIZE)?,
        request::PTRACE_GETFPREGS => floating_point(tracee, data, record::LEGACY_SIZE)?,
        request::PTRACE_SETFPREGS => set_floating_point(tracee, data, record::LEGACY_SIZE)?,
        request::PTRACE_GETREGSET | request::PTRACE_SETREGSET => {
            register_set(tracee, wanted == request::PTRACE_SETREGSET, address, UserPtr::at(data))?;
        }
        request::PTRACE_GETSIGINFO => UserPtr::at(data).write(&tracee.info()?)?,
        request::PTRACE_SETSIGINFO => tracee.set_info(&UserPtr::at(data).read()?)?,
        request::PTRACE_PEEKSIGINFO => return pending(tracee, address, data),
        request::PTRACE_GETSIGMASK if address == 8 => UserPtr::at(data).write(&tracee.mask().bits())?,
        request::PTRACE_SETSIGMASK if address == 8 => {
            tracee.set_mask(SignalSet::from_bits(UserPtr::<u64>::at(data).read()?));
        }
        request::PTRACE_GETSIGMASK | request::PTRACE_SETSIGMASK => return Err(Errno::EINVAL),
        request::PTRACE_SECCOMP_GET_FILTER => return filter(tracer, tracee, address, data),
        request::PTRACE_SECCOMP_GET_METADATA => return filter_flags(tracer, tracee, address, data),
        request::PTRACE_GET_SYSCALL_INFO => return call_info(tracee, address, data),
        _ => return Err(Errno::EIO),
    }
    Ok(0)
}

/// Writes the first `length` bytes of the general registers.
fn registers(tracee: &Tracee, to: u64, length: usize) -> Result<(), Errno> {
    let words = tracee.with_record(|record| Ok(record.words()))?;
    let mut bytes = [0; REGISTERS_SIZE];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    user_memory::write(to, &bytes[..length])
}

/// Sets as many of the general registers as there are in `length` bytes.
fn set_registers(tracee: &Tracee, from: u64, length: usize) -> Result<(), Errno> {
    let mut bytes = [0; REGISTERS_SIZE];
    user_memory::read(from, &mut bytes[..length])?;
    let words = bytes[..length].as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    tracee.with_record(|record| words.enumerate().try_for_each(|(index, word)| record.set_word(index, word)))
}

fn floating_point(tracee: &Tracee, to: u64, length: usize) -> Result<(), Errno> {
    let state = tracee.with_record(|record| record.extended_state())?;
    // The components are marked in the form of XSAVE only.
    let mut legacy = [0; record::LEGACY_SIZE];
    legacy.copy_from_slice(state.get(..record::LEGACY_SIZE).ok_or(Errno::EIO)?);
    legacy[464..].fill(0);
    user_memory::write(to, &legacy[..length])
}

fn set_floating_point(tracee: &Tracee, from: u64, length: usize) -> Result<(), Errno> {
    let mut legacy = [0; record::LEGACY_SIZE];
    user_memory::read(from, &mut legacy[..length])?;
    if length != record::LEGACY_SIZE {
        return Err(Errno::EINVAL);
    }
    tracee.with_record(|record| record.set_legacy_state(&legacy))
}

/// `PTRACE_GETREGSET` and `PTRACE_SETREGSET`: the vector says where and how much, and learns how much it was. `EINVAL` no such
/// set, or no whole number of words.
fn register_set(tracee: &Tracee, sets: bool, kind: u64, vector: UserPtr<IoVector>) -> Result<(), Errno> {
    let mut given = vector.read()?;
    let most = match kind {
        GENERAL => REGISTERS_SIZE,
        FLOATING_POINT => record::LEGACY_SIZE,
        EXTENDED if machine::fpu::state_parts() != 0 => machine::fpu::state_size(),
        _ => return Err(Errno::EINVAL),
    };
    if !given.length.is_multiple_of(8) {
        return Err(Errno::EINVAL);
    }
    let length = usize::try_from(given.length).unwrap_or(most).min(most);
    match (kind, sets) {
        (GENERAL, false) => registers(tracee, given.base, length)?,
        (GENERAL, true) => set_registers(tracee, given.base, length)?,
        (FLOATING_POINT, false) => floating_point(tracee, given.base, length)?,
        (FLOATING_POINT, true) => set_floating_point(tracee, given.base, length)?,
        (_, false) => {
            let state = tracee.with_record(|record| record.extended_state())?;
            user_memory::write(given.base, state.get(..length).ok_or(Errno::EIO)?)?;
        }
        (_, true) => {
            let mut state = vec![0; length];
            user_memory::read(given.base, &mut state)?;
            tracee.with_record(|record| record.set_extended_state(&state))?;
        }
    }
    given.length = length as u64;
    vector.write(&given)
}

/// `PTRACE_PEEKSIGINFO`: how many were written. `EINVAL` a flag, or a negative number.
fn pending(tracee: &Tracee, arguments: u64, to: u64) -> Result<usize, Errno> {
    /// What is asked for in one turn.
    const TOGETHER: usize = 32;
    let mut given = [0; 16];
    user_memory::read(arguments, &mut given)?;
    let number = |at: usize| u32::from_le_bytes([given[at], given[at + 1], given[at + 2], given[at + 3]]);
    let from = u64::from(number(0)) | u64::from(number(4)) << 32;
    let (flags, most) = (number(8), number(12) as i32);
    if flags & !request::PTRACE_PEEKSIGINFO_SHARED != 0 || most < 0 {
        return Err(Errno::EINVAL);
    }
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let mut done = 0;
    while done < most as usize {
        let turn = (most as usize - done).min(TOGETHER);
        let infos = tracee.pending(flags != 0, from.saturating_add(done), turn);
        for (index, info) in infos.iter().enumerate() {
            let place = to.wrapping_add((done + index) as u64 * info.len() as u64);
            match user_memory::write(place, info) {
                Err(error) if done + index == 0 => return Err(error),
                Err(_) => return Ok(done + index),
                Ok(()) => {}
            }
        }
        done += infos.len();
        if infos.len() < turn {
            break;
        }
    }
    Ok(done)
}

/// `PTRACE_SECCOMP_GET_FILTER`: how many instructions a filter has, which are written if there is an address.
fn filter(tracer: &Task, tracee: &Tracee, index: u64, to: u64) -> Result<usize, Errno> {
    let (instructions, _) = tracee.filter(tracer, index)?;
    if to != 0 {
        user_memory::write(to, &instructions)?;
    }
    Ok(instructions.len() / INSTRUCTION_SIZE)
}

/// `PTRACE_SECCOMP_GET_METADATA`: the flags of the filter whose number is read there; how many bytes were written. `EACCES`
/// first; `EINVAL` there is no room for the number.
fn filter_flags(tracer: &Task, tracee: &Tracee, room: u64, place: u64) -> Result<usize, Errno> {
    check_sees_filters(tracer)?;
    let size = room.min(METADATA_SIZE as u64) as usize;
    if size < 8 {
        return Err(Errno::EINVAL);
    }
    let index = UserPtr::<u64>::at(place).read()?;
    let (_, flags) = tracee.filter(tracer, index)?;
    let mut bytes = [0; METADATA_SIZE];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    bytes[8..].copy_from_slice(&flags.to_le_bytes());
    user_memory::write(place, &bytes[..size])?;
    Ok(size)
}

/// `PTRACE_GET_SYSCALL_INFO`: how many bytes there are, of which so many are written as there is room for.
fn call_info(tracee: &Tracee, room: u64, to: u64) -> Result<usize, Errno> {
    let (stop, instruction, stack) = tracee.call_stop()?;
    let mut bytes = [0; FILTER_SIZE];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(4, &facts::ARCHITECTURE.to_le_bytes());
    put(8, &instruction.to_le_bytes());
    put(16, &stack.to_le_bytes());
    let (kind, size) = match stop {
        CallStop::None => (request::PTRACE_SYSCALL_INFO_NONE, NO_CALL_SIZE),
        CallStop::Entry(number, arguments) => {
            put(24, &number.to_le_bytes());
            arguments.iter().enumerate().for_each(|(index, word)| put(32 + 8 * index, &word.to_le_bytes()));
            (request::PTRACE_SYSCALL_INFO_ENTRY, ENTRY_SIZE)
        }
        CallStop::Exit(result) => {
            put(24, &result.to_le_bytes());
            put(32, &[u8::from((-4095..0).contains(&result))]);
            (request::PTRACE_SYSCALL_INFO_EXIT, EXIT_SIZE)
        }
        CallStop::Filter(number, arguments, given) => {
            put(24, &number.to_le_bytes());
            arguments.iter().enumerate().for_each(|(index, word)| put(32 + 8 * index, &word.to_le_bytes()));
            put(80, &given.to_le_bytes());
            (request::PTRACE_SYSCALL_INFO_SECCOMP, FILTER_SIZE)
        }
    };
    bytes[0] = kind as u8;
    let written = usize::try_from(room).unwrap_or(size).min(size);
    user_memory::write(to, &bytes[..written])?;
    Ok(size)
}
