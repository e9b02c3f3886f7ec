//! Core dumps (core(5)): a process that a signal ends leaves its memory and registers, for debuggers.
//!
//! The thread that takes the signal decides (`begin`); all others come to `rest`, leave what they were doing and wait.
//! Then it writes the file (`write`) as a task that signals don't reach, but SIGKILL. `pattern` says where to, `notes`
//! and `image` what is in the file, `output` writes, `settings` are root's.

mod image;
mod notes;
mod output;
mod pattern;
mod settings;

pub use image::Filter;
pub(crate) use notes::ThreadRecord;
pub use settings::{
    Dumpable, of_privileged, pipe_limit, set_of_privileged, set_pattern, set_pipe_limit, set_uses_pid, uses_pid,
};

use crate::{
    completion::Completion,
    limits::{Limit, Resource},
    process::{Process, ProcessState},
    signals::{SignalInfo, SignalSet, send},
    sleep,
    spawn::{self, Program},
    status::End,
    task::Task,
};
use alloc::{string::String, sync::Arc, vec::Vec};
use base::{Credentials, Errno, Pid, Uid};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use image::{Layout, PAGE, Segment};
use machine::{fpu, user::UserContext};
use memory::AddressSpace;
use notes::ProcessRecord;
use output::{Cut, Output};
use pattern::{Facts, Target};
use vfs::{Caller, FileKind, FileTable, Follow, FsContext, OpenFile, OpenFlags, Permissions, Start, Timestamp, pipe};

/// The current pattern, for its file.
pub fn shown_pattern() -> Vec<u8> {
    settings::pattern()
}

/// A dump under way: no thread of the process but the one that writes goes back to user mode.
pub(crate) struct Dump {
    /// The thread that writes.
    pub(crate) writer: Pid,
    /// Other threads that have neither come to rest nor ended.
    pub(crate) running: usize,
    /// What those have left that came to rest.
    records: Vec<ThreadRecord>,
}

/// A core smaller than this is not begun.
const LEAST: u64 = PAGE;

/// How many programs are fed with cores.
static READERS: AtomicU32 = AtomicU32::new(0);

/// Begins a dump by `task`, the current one, if there is to be one: all other threads are called to rest. `state` is its
/// process's.
pub(crate) fn begin(task: &Task, state: &mut ProcessState) -> bool {
    let process = task.process();
    let limit = process.limit(Resource::Core);
    let is_piped = settings::pattern().first() == Some(&b'|');
    // A limit of 1 is that of programs which read cores.
    let allowed = if is_piped { limit != 1 } else { limit >= LEAST };
    if !allowed || process.dumpable() == Dumpable::No || state.executing.is_some() {
        return false;
    }
    let running = state.threads.len() - 1;
    state.dump = Some(Dump { writer: task.tid(), running, records: Vec::new() });
    state.threads.iter().filter(|thread| thread.tid() != task.tid()).for_each(|thread| thread.call_to_end());
    process.stopped.wake_all();
    true
}

impl ThreadRecord {
    /// What `task`, the current one, is doing.
    fn of(task: &Task, context: &UserContext) -> Self {
        let size = fpu::state_size();
        let floating_point = memory::heap::try_vec(size).map(|mut bytes| {
            fpu::with_current(|state| bytes.extend_from_slice(state.bytes()));
            bytes
        });
        let usage = if task.is_leader() { task.process().usage() } else { task.usage() };
        Self {
            tid: task.tid().raw(),
            registers: context.registers,
            call: context.call,
            bases: (task.fs_base(), task.gs_base()),
            floating_point: floating_point.unwrap_or_default(),
            pending: task.signals.lock().pending.set(),
            blocked: task.mask(),
            times: [usage.user, usage.system],
        }
    }
}

/// Has `task`, the current one, leave what it was doing and wait until the dump is over.
pub(crate) fn rest(task: &Task, context: &UserContext) {
    let record = ThreadRecord::of(task, context);
    let process = task.process();
    if let Some(dump) = &mut process.state().dump {
        dump.running -= 1;
        // Without memory for it the thread is missing from the core.
        if dump.records.try_reserve(1).is_ok() {
            dump.records.push(record);
        }
    }
    process.news.wake_all();
    process.stopped.wait_until(|| process.state().dump.is_none().then_some(()));
}

/// Writes the core and decides how the process ends. `task` is the current one, which [`begin`] began with.
pub(crate) fn write(task: &Arc<Task>, context: &UserContext, info: &SignalInfo) {
    let process = task.process();
    let own = ThreadRecord::of(task, context);
    let mask = task.mask();
    task.store_mask(SignalSet::from_bits(u64::MAX));
    let at_rest = || process.state().dump.as_ref().is_none_or(|dump| dump.running == 0).then_some(());
    let core = sleep::until_killed_or(task, &process.news, at_rest, None).is_ok() && attempt(task, own, info);
    task.store_mask(mask);
    let mut state = process.state();
    // After SIGKILL that is what ended it.
    let core = core && state.exit.is_none();
    let dump = state.dump.take();
    send::end_group(process, &mut state, End::Killed { signal: info.signal, core });
    drop(state);
    drop(dump);
}

/// Whether there is a core now, complete or cut off by its limit.
fn attempt(task: &Arc<Task>, own: ThreadRecord, info: &SignalInfo) -> bool {
    let process = task.process();
    let limit = process.limit(Resource::Core);
    let mut who = Credentials::clone(&task.credentials());
    let as_root = process.dumpable() == Dumpable::AsRoot;
    if as_root {
        who.fsuid = Uid::ROOT;
    }
    match pattern::expand(&settings::pattern(), &facts(task, info, limit), settings::uses_pid()) {
        Some(Target::File(name)) => match open(task, &name, &Arc::new(who), as_root) {
            Ok(file) => record(task, own, info, &mut Output::new(task, file, true, limit)),
            Err(error) => {
                tell(task, &name, error);
                false
            }
        },
        Some(Target::Program(words)) => {
            let before = READERS.fetch_add(1, Relaxed);
            let most = settings::pipe_limit();
            let admitted = most == 0 || before < most;
            let dumped = admitted && feed(task, own, info, words, most != 0);
            READERS.fetch_sub(1, Relaxed);
            dumped
        }
        None => false,
    }
}

/// Says in the log why there is no core.
fn tell(task: &Task, place: &[u8], error: Errno) {
    let place = String::from_utf8_lossy(place);
    machine::log!("process: no core of {} in {place}: {error}", task.pid());
}

fn facts(task: &Task, info: &SignalInfo, limit: u64) -> Facts {
    let process = task.process();
    let who = task.credentials();
    let name = task.name().as_bytes().to_vec();
    Facts {
        pid: task.pid().raw(),
        tid: task.tid().raw(),
        uid: who.uid.raw(),
        gid: who.gid.raw(),
        mode: process.dumpable() as u8,
        signal: info.signal.number(),
        time: Timestamp::now().seconds.max(0) as u64,
        limit,
        host: task.population().names().host(),
        path: process.program().map_or_else(|| name.clone(), |program| program.file.path(None)),
        name,
    }
}

/// Makes the file of a core: new, the process's own, and nobody else's to read.
///
/// Errors: those of opening; `EINVAL` a name that says no directory for a core of root's; `EPERM` a file of another owner or
/// kind.
fn open(task: &Task, name: &[u8], who: &Arc<Credentials>, as_root: bool) -> Result<Arc<OpenFile>, Errno> {
    let context = if as_root {
        if name.first() != Some(&b'/') {
            return Err(Errno::EINVAL);
        }
        first_context(task)?
    } else {
        task.context()?
    };
    let caller = Caller { context: &context, credentials: who };
    if !as_root {
        // There may be none.
        let _ = caller.unlink(Start::WorkingDirectory, name);
    }
    let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::WRITE_ONLY | OpenFlags::NO_FOLLOW;
    let file = caller.open(Start::WorkingDirectory, name, flags, Permissions::new(0o600))?;
    let facts = file.inode().metadata();
    let private = facts.permissions.bits() & 0o677 == 0o600;
    if facts.kind == FileKind::Regular && facts.links == 1 && facts.uid == who.fsuid && private {
        Ok(file)
    } else {
        Err(Errno::EPERM)
    }
}

/// The mount view and root of pid 1, standing in its root.
fn first_context(task: &Task) -> Result<Arc<FsContext>, Errno> {
    let first = task.population().task(Pid::new(1)).ok_or(Errno::ESRCH)?;
    let context = first.context()?.fork();
    let root = Arc::new(Credentials::root());
    Caller { context: &context, credentials: &root }.change_directory(Start::WorkingDirectory, b"/", Follow::Yes)?;
    Ok(context)
}

/// Starts a program with the core as its standard input; `waits`: until it has ended.
fn feed(task: &Arc<Task>, own: ThreadRecord, info: &SignalInfo, words: Vec<Vec<u8>>, waits: bool) -> bool {
    let name = words[0].clone();
    let started = Arc::new(Completion::new());
    let (reader, writer) = match start(task, words, &started) {
        Ok(both) => both,
        Err(error) => {
            tell(task, &name, error);
            return false;
        }
    };
    let has_begun = || started.is_done().then_some(());
    let begun = sleep::until_killed_or(task, started.queue(), has_begun, None).is_ok()
        && reader.kinship().executed.load(Relaxed);
    let dumped = begun && record(task, own, info, &mut Output::new(task, writer, false, u64::MAX));
    if dumped && waits {
        task.entity().clear_interrupt();
        let has_ended = || reader.is_zombie().then_some(());
        // A killed task does not wait.
        let _ = sleep::until_killed_or(task, &reader.ended, has_ended, None);
    }
    dumped
}

type Reader = (Arc<Process>, Arc<OpenFile>);

fn start(task: &Task, words: Vec<Vec<u8>>, started: &Arc<Completion>) -> Result<Reader, Errno> {
    let root = Arc::new(Credentials::root());
    let [input, output] = pipe::pipe(OpenFlags::empty(), &root)?;
    let files = FileTable::new();
    files.insert(input, false, 1)?;
    let program = Program {
        path: words[0].clone(),
        arguments: words,
        environment: Vec::new(),
        context: first_context(task)?,
        files,
        started: Some(started.clone()),
        // It leaves no core that a program would have to read.
        core_limit: Limit { soft: 1, hard: 1 },
    };
    let reader = spawn::program(task.population(), program, None)?;
    Ok((reader.process().clone(), output))
}

/// Writes a core. `false`: not even its beginning was known.
fn record(task: &Task, own: ThreadRecord, info: &SignalInfo, output: &mut Output<'_>) -> bool {
    let prepare = || -> Result<_, Errno> {
        let space = task.space()?;
        let (segments, files) = image::segments(&space, task.process().core_filter())?;
        let mut threads = task.process().state().dump.as_mut().map(|dump| core::mem::take(&mut dump.records));
        let threads = threads.get_or_insert_default();
        threads.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        threads.insert(0, own);
        let notes = notes::all(&process_record(task, &space), threads, info, &files)?;
        let page = image::page()?;
        Ok((space, segments, notes, page))
    };
    let Ok((space, segments, notes, mut page)) = prepare() else { return false };
    // What the limit, a full file system or SIGKILL cut off is missing; the rest is of use.
    let _ = put(output, &space, &segments, &notes, &mut page);
    true
}

fn put(
    output: &mut Output<'_>,
    space: &AddressSpace,
    segments: &[Segment],
    notes: &[u8],
    page: &mut [u8],
) -> Result<(), Cut> {
    let page = page.first_chunk_mut().ok_or(Cut)?;
    let layout = Layout::new(segments, notes.len());
    output.emit(&layout.header())?;
    output.emit(&layout.note_header())?;
    let mut offset = layout.memory;
    for segment in segments {
        output.emit(&image::segment_header(segment, offset))?;
        offset += segment.bytes;
    }
    output.emit(notes)?;
    output.skip_to(layout.memory);
    for segment in segments {
        for address in (segment.start..segment.start + segment.bytes).step_by(PAGE as usize) {
            if space.dump_page(address, page) {
                output.emit(page)?;
            } else {
                output.skip(PAGE)?;
            }
            sched::give_way();
        }
    }
    if layout.has_section() {
        output.emit(&layout.section())?;
    }
    output.finish()
}

fn process_record(task: &Task, space: &AddressSpace) -> ProcessRecord {
    /// More of the arguments has no room.
    const ARGUMENTS: u64 = 80;
    let process = task.process();
    let kinship = process.kinship();
    let who = task.credentials();
    let children = process.children_usage();
    let mut arguments = Vec::new();
    let mut vector = Vec::new();
    if let Some(program) = process.program() {
        let (start, end) = program.arguments;
        arguments.resize(end.saturating_sub(start).min(ARGUMENTS) as usize, 0);
        if space.read(start, &mut arguments).is_err() {
            arguments.clear();
        }
        vector.extend_from_slice(&program.vector);
    }
    ProcessRecord {
        pid: task.pid().raw(),
        parent: kinship.parent().raw(),
        group: kinship.group().raw(),
        session: kinship.session().raw(),
        uid: who.uid.raw(),
        gid: who.gid.raw(),
        nice: task.entity().nice().raw(),
        name: task.name().as_bytes().to_vec(),
        arguments,
        vector,
        children_times: [children.user, children.system],
        components: fpu::state_parts(),
    }
}
