//! `execve(2)`: a new program for the calling task.
//!
//! Everything that can fail happens before the point of no return, in a new address space that nobody runs in yet;
//! then the other threads end, and the task becomes what the program wants. [`image`] checks ELF files, [`script`]
//! reads `#!` lines, [`stack`] lays out the first stack, `load` fills the address space where [`layout`] says, `shared_clock` adds the vDSO.

pub mod image;
pub mod layout;
mod load;
pub mod script;
mod shared_clock;
pub mod stack;

use crate::{
    core_dump::{self, Dumpable},
    futex_calls,
    identity::{self, ExecutedFile},
    persona::Persona,
    process::{Program, shared_actions},
    signals::{AlternateStack, Signal},
    sleep,
    task::{Name, NumberedSpace, Task},
    trace::{self, ties},
};
use alloc::{sync::Arc, vec, vec::Vec};
use base::{Credentials, Errno};
use core::sync::atomic::Ordering::Relaxed;
use machine::{fpu, user::UserContext};
use script::Script;
use vfs::{Caller, Execution, FileTable, Follow, MountFlags, OpenFile, Permissions, Start};

pub use shared_clock::install as share_clock;

/// What `execve` and `execveat` are asked for.
pub struct ExecRequest<'a> {
    /// Where a relative path starts.
    pub start: Start<'a>,
    /// The file.
    pub path: &'a [u8],
    /// Whether a symbolic link at the end is followed, and an empty path means the start.
    pub follow: Follow,
    /// How a script's interpreter and `AT_EXECFN` name the file: the path, or `/dev/fd/N`.
    pub name: &'a [u8],
    /// That name leads nowhere once the program runs: its descriptor is closed then.
    pub is_name_closed: bool,
    /// The arguments.
    pub arguments: Vec<Vec<u8>>,
    /// The environment.
    pub environment: Vec<Vec<u8>>,
}

/// The file that is loaded in the end, after scripts have named their interpreters.
struct Found {
    file: Arc<OpenFile>,
    execution: Execution,
    arguments: Vec<Vec<u8>>,
}

/// Makes `task`, the current one, run another program; on success `context` holds its first registers.
///
/// Errors, nothing changed: `EAGAIN` it became a user's that has too many tasks; those of opening the file; `EACCES` it may not be executed;
/// `ETXTBSY` it, or an interpreter, is open for writing; `ENOEXEC` it is no program for
/// this machine; `E2BIG` arguments and environment; `ELOOP` too many scripts; `ENOMEM`; `EINTR` the process is ending.
/// Locks: none may be held.
pub fn execute(task: &Arc<Task>, context: &mut UserContext, mut request: ExecRequest<'_>) -> Result<(), Errno> {
    check_user_limit(task)?;
    let number = task.tid();
    let old = task.credentials();
    let files = task.context()?;
    let caller = Caller { context: &files, credentials: &old };
    let stack_limit = task.process().limit(crate::limits::Resource::Stack);
    let mut arguments = core::mem::take(&mut request.arguments);
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    stack::check_size(arguments.iter().chain(&request.environment), stack_limit)?;
    let file = caller.open_program(request.start, request.path, request.follow)?;
    let found = find(&caller, file, &request, arguments)?;
    stack::check_size(found.arguments.iter().chain(&request.environment), stack_limit)?;
    let (bits, no_new_privileges, mut persona) = task.with_belongings(|own| {
        own.is_executing = true;
        (own.secure_bits, own.no_new_privileges, own.persona)
    });
    let decided = Decided(task);
    let ids = set_ids(&found.file);
    let gains_nothing = no_new_privileges || ties::forbids_rights(task);
    let (credentials, secure) = identity::execute(&old, bits, gains_nothing, ids);
    let hidden = old.euid != old.uid
        || old.egid != old.gid
        || identity::becomes_another(&old, &credentials)
        || !may_read(&found.file, &old);
    if !no_new_privileges && (ids.set_uid.is_some() || ids.set_gid.is_some()) {
        persona.remove(Persona::UNSAFE);
    }
    // A program of 64 bits says itself what it may execute.
    persona.remove(Persona::READ_IMPLIES_EXECUTE);
    let plan = load::Plan {
        caller: &caller,
        file: &found.file,
        name: request.name,
        arguments: &found.arguments,
        environment: &request.environment,
        credentials: &credentials,
        secure,
        limits: task.memory_limits(),
        may_be_random: !persona.contains(Persona::NO_RANDOMIZE),
    };
    let loaded = load::load(&plan)?;
    loaded.space.set_small_pages_only(task.space().is_ok_and(|old| old.has_small_pages_only()));
    let table = private_files(task)?;

    // By the number and in the memory that it still has.
    futex_calls::leave_locks(task);
    become_only_thread(task)?;
    // From here on nothing fails.
    core::mem::forget(decided);
    let space = NumberedSpace { space: loaded.space, number: task.population().next_space_number() };
    space.space.activate();
    let previous = task.replace_space(Some(space));
    task.finish_vfork();
    drop(previous);
    table.close_on_exec();
    task.with_belongings(|own| (own.files, own.persona, own.is_executing) = (Some(table), persona, false));
    let program = Program {
        file: found.file,
        execution: found.execution,
        arguments: loaded.arguments,
        environment: loaded.environment,
        stack: loaded.pointer,
        vector: loaded.vector,
    };
    reset(task, request.name, program, credentials, secure);
    task.process().set_dumpable(if hidden { core_dump::of_privileged() } else { Dumpable::Yes });
    if hidden {
        ties::after_rights(task);
    }
    *context = UserContext { call: context.call, ..UserContext::default() };
    context.registers.rip = loaded.entry;
    context.registers.rsp = loaded.pointer;
    fpu::reset_current();
    task.entity().context().set_user_bases(0, 0, true);
    if task.tracing.is_traced() {
        trace::stop::for_exec(task, context, number);
    }
    Ok(())
}

/// What a program gains is decided, until its execution fails: whoever changes what it was decided by waits for that.
struct Decided<'a>(&'a Task);

impl Drop for Decided<'_> {
    fn drop(&mut self) {
        self.0.with_belongings(|own| own.is_executing = false);
        self.0.process().news.wake_all();
    }
}

/// `EAGAIN` the task has become one of a user that had too many tasks then and still has (execve(2)).
fn check_user_limit(task: &Task) -> Result<(), Errno> {
    if !task.with_belongings(|own| own.has_too_many) {
        return Ok(());
    }
    let limit = task.process().limit(crate::limits::Resource::Processes);
    task.with_belongings(|own| {
        own.has_too_many = own.share.as_ref().is_some_and(|share| share.account().tasks() > limit);
        if own.has_too_many { Err(Errno::EAGAIN) } else { Ok(()) }
    })
}

/// Follows `#!` lines until a file is no script. `ELOOP` after [`script::MAX_DEPTH`] of them; `ENOENT` the interpreter would
/// not find the script.
fn find(
    caller: &Caller<'_>,
    mut file: Arc<OpenFile>,
    request: &ExecRequest<'_>,
    mut arguments: Vec<Vec<u8>>,
) -> Result<Found, Errno> {
    let mut name = request.name.to_vec();
    for _ in 0..=script::MAX_DEPTH {
        let execution = file.begin_execution()?;
        let mut start = vec![0; script::LINE_MAX];
        let length = file.read_program(&mut start, 0)?;
        let Some(script) = Script::parse(&start[..length]) else { return Ok(Found { file, execution, arguments }) };
        if request.is_name_closed {
            return Err(Errno::ENOENT);
        }
        let script = script?;
        arguments = script.arguments(&name, arguments)?;
        file = caller.open_program(Start::WorkingDirectory, &script.interpreter, Follow::Yes)?;
        name = script.interpreter;
    }
    Err(Errno::ELOOP)
}

/// Set-user-ID and set-group-ID of a file, where its mount lets them count.
fn set_ids(file: &OpenFile) -> ExecutedFile {
    if file.mount_flags().contains(MountFlags::NO_SET_ID) {
        return ExecutedFile::default();
    }
    let owner = file.inode().ownership();
    let has = |bits| owner.permissions.any(bits);
    ExecutedFile {
        set_uid: has(Permissions::SET_UID).then_some(owner.uid),
        // Without group execution the bit means something else (mandatory locking, once).
        set_gid: (has(Permissions::SET_GID) && has(0o010)).then_some(owner.gid),
    }
}

fn may_read(file: &OpenFile, who: &Credentials) -> bool {
    let inode = file.inode();
    vfs::check_permission(inode.ownership(), inode.kind(), who, vfs::READ).is_ok()
}

/// The task's table of descriptors, or a copy if others share it that are not threads of its process: exec closes
/// descriptors in its own only.
fn private_files(task: &Task) -> Result<Arc<FileTable>, Errno> {
    let files = task.files()?;
    let threads = task.process().threads();
    let tables = threads.iter().filter_map(|thread| thread.files().ok());
    let shared_by_threads = tables.filter(|table| Arc::ptr_eq(table, &files)).count();
    // Each thread's own reference, and the one in `files`.
    if Arc::strong_count(&files) > shared_by_threads + 1 { files.fork() } else { Ok(files) }
}

/// Ends all other threads of the process and takes over its number. `EINTR` if the process is ending anyway.
fn become_only_thread(task: &Arc<Task>) -> Result<(), Errno> {
    let process = task.process();
    {
        let mut state = process.state();
        if state.is_over() || state.executing.is_some() {
            return Err(Errno::EINTR);
        }
        if state.threads.len() == 1 && state.departing == 0 && task.is_leader() {
            return Ok(());
        }
        state.executing = Some(task.tid());
        let others = state.threads.iter().filter(|thread| !Arc::ptr_eq(thread, task));
        others.for_each(|thread| thread.call_to_end());
    }
    let alone = || {
        let state = process.state();
        (state.threads.len() == 1 && state.departing == 0).then_some(())
    };
    sleep::until_killed_or(task, &process.news, alone, None)?;
    let mut old_leader = None;
    if !task.is_leader() {
        let mut tree = task.population().tree();
        old_leader = tree.remove_task(process.pid());
        let cut = old_leader.as_ref().and_then(|leader| ties::cut(&mut tree, leader));
        tree.add_task(process.pid(), task.clone());
        let own = tree.remove_task(task.tid());
        task.become_leader();
        ties::note_leader(task);
        drop(tree);
        drop((own, cut));
    }
    {
        let mut state = process.state();
        state.executing = None;
        state.leader_end = None;
    }
    crate::exit::released(old_leader);
    Ok(())
}

/// What a new program starts with besides memory: default handlers, no alternate stack, name, credentials.
fn reset(task: &Arc<Task>, name: &[u8], program: Program, credentials: Credentials, secure: bool) {
    let process = task.process();
    {
        let mut state = process.state();
        let mut table = state.actions.lock().clone();
        table.reset_handlers();
        if Arc::strong_count(&state.actions) > 1 {
            state.actions = shared_actions(table);
        } else {
            *state.actions.lock() = table;
        }
        state.exit_signal = state.exit_signal.map(|_| Signal::CHLD);
    }
    task.signals.lock().stack = AlternateStack::NONE;
    task.saved_mask.forget();
    process.timers.forget_posix();
    task.set_clear_child_tid(0);
    task.has_left_futexes.store(false, Relaxed);
    task.sequence.forget();
    trace::breakpoints::forget(task);
    process.barriers.store(0, Relaxed);
    let start = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
    task.set_name(Name::new(&name[start..]));
    process.set_program(Arc::new(program));
    process.kinship().executed.store(true, Relaxed);
    if secure {
        task.parent_death_signal.store(0, Relaxed);
    }
    task.set_credentials(credentials);
    task.with_belongings(|own| own.secure_bits.remove(identity::SecureBits::KEEP_CAPS));
}
