//! Tasks without a parent: threads of the kernel, pid 1, and programs that the kernel starts.

use crate::{
    clone,
    completion::Completion,
    core_dump::{Dumpable, Filter},
    exec::{self, ExecRequest},
    limits::{INFINITY, Limit, Limits, Resource},
    placement::TaskMemory,
    population::Population,
    process::{Process, ProcessStart, shared_actions},
    run,
    signals::{ActionTable, AlternateStack, Signal, SignalSet},
    task::{Belongings, Name, NumberedSpace, Start, Task, TaskParts},
    tree::Kinship,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use base::{CpuSet, Credentials, Errno, Pid};
use container::Member;
use core::any::Any;
use machine::user::UserContext;
use memory::AddressSpace;
use sched::{Entity, Nice, Policy, Schedulable};
use vfs::{FileTable, Follow, FsContext};

/// A program that the kernel starts.
pub struct Program {
    /// The file.
    pub path: Vec<u8>,
    /// The arguments, the name first.
    pub arguments: Vec<Vec<u8>>,
    /// The environment.
    pub environment: Vec<Vec<u8>>,
    /// Where it stands in the mount tree.
    pub context: Arc<FsContext>,
    /// What it has open.
    pub files: Arc<FileTable>,
    /// Told when it runs, or can't.
    pub started: Option<Arc<Completion>>,
    /// Its `RLIMIT_CORE`.
    pub core_limit: Limit,
}

/// The limit on cores that pid 1 begins with: none is left, until somebody wants one.
pub const NO_CORE: Limit = Limit { soft: 0, hard: INFINITY };

/// Dropped when a process has ended, or could not be made.
pub type Ending = Box<dyn Any + Send + Sync>;

impl Program {
    fn request(&self) -> ExecRequest<'_> {
        ExecRequest {
            start: vfs::Start::WorkingDirectory,
            path: &self.path,
            follow: Follow::Yes,
            name: &self.path,
            is_name_closed: false,
            arguments: self.arguments.clone(),
            environment: self.environment.clone(),
        }
    }
}

/// What differs between the tasks that the kernel makes.
struct Plan {
    pid: Option<Pid>,
    kernel: bool,
    name: Name,
    start: Start,
    space: Option<NumberedSpace>,
    files: Option<Arc<FileTable>>,
    context: Option<Arc<FsContext>>,
    /// Group and session; none is its own of each.
    relations: Option<(Pid, Pid)>,
    parent: Pid,
    ending: Option<Ending>,
}

fn spawn(population: &'static Population, plan: Plan) -> Result<Arc<Task>, Errno> {
    let admission = population.framework().can_start()?;
    let entity = Entity::new(run::begin, CpuSet::first(base::MAX_CPUS), Policy::Other, Nice::default())?;
    let number = population.reserve()?;
    let pid = number.pid();
    // Pid 1 is made first; anything else would be a mistake of the boot order.
    if plan.pid.is_some_and(|wanted| wanted != pid) {
        return Err(Errno::EAGAIN);
    }
    let mut limits = Limits::initial(population.most_tasks());
    if let Start::Program(program) = &plan.start {
        limits.set(Resource::Core, program.core_limit, &Credentials::root())?;
    }
    let (group, session) = plan.relations.unwrap_or((pid, pid));
    let process = Process::new(
        population,
        ProcessStart {
            kinship: Kinship::new(pid, plan.parent, group, session),
            actions: shared_actions(ActionTable::new()),
            exit_signal: Some(Signal::CHLD),
            limits,
            program: None,
            dumpable: Dumpable::Yes,
            core_filter: Filter::INITIAL,
            ending: plan.ending,
            oom_score: (0, 0),
        },
    );
    let credentials = Credentials::root();
    let share = population.accounts.share(credentials.uid);
    let task = Task::new(TaskParts {
        tid: pid,
        process,
        kernel: plan.kernel,
        entity,
        space: plan.space,
        belongings: Belongings {
            credentials: Arc::new(credentials),
            secure_bits: Default::default(),
            no_new_privileges: false,
            is_executing: false,
            has_too_many: false,
            persona: Default::default(),
            share: Some(share),
            files: plan.files,
            context: plan.context,
            name: plan.name,
            io_priority: Default::default(),
            undo: None,
        },
        start: plan.start,
        mask: if plan.kernel { SignalSet::from_bits(u64::MAX) } else { SignalSet::EMPTY },
        stack: AlternateStack::NONE,
        clear_child_tid: 0,
        set_child_tid: 0,
        vfork: None,
        memory: TaskMemory::ANYWHERE,
        affinity: CpuSet::first(base::MAX_CPUS),
    });
    let member: Arc<dyn Member> = task.clone();
    admission.admit_and(&member, || clone::register(&task, None));
    drop(member);
    number.keep();
    population.count_fork();
    sched::start(task.clone() as Arc<dyn Schedulable>);
    Ok(task)
}

/// Starts a thread of the kernel: a task without an address space, which ends when `function` returns. `EAGAIN`, `ENOMEM`.
pub fn kernel_thread(
    population: &'static Population,
    name: &str,
    function: impl FnOnce() + Send + 'static,
) -> Result<Arc<Task>, Errno> {
    spawn(
        population,
        Plan {
            pid: None,
            kernel: true,
            name: Name::new(name.as_bytes()),
            start: Start::Kernel(Box::new(function)),
            space: None,
            files: None,
            context: None,
            relations: Some((Pid::new(0), Pid::new(0))),
            parent: Pid::new(0),
            ending: None,
        },
    )
}

/// Starts pid 1; it must be the first task. Then starts the kernel's own threads of this floor.
pub fn init(population: &'static Population, program: Program) -> Result<Arc<Task>, Errno> {
    let task = user_task(population, program, Some(Pid::new(1)), Pid::new(0), None)?;
    kernel_thread(population, "timers", || population.timer_work.run())?;
    kernel_thread(population, "aio", || population.aio.polls.run())?;
    kernel_thread(population, "file_signals", || crate::file_signals::run(population))?;
    Ok(task)
}

/// Starts a program as a child of pid 1, as the superuser, in a session of its own: release agents. `ending` is dropped
/// when it has ended, also where it can't be started. `EAGAIN`, `ENOMEM`.
pub fn program(population: &'static Population, program: Program, ending: Option<Ending>) -> Result<Arc<Task>, Errno> {
    user_task(population, program, None, Pid::new(1), ending)
}

fn user_task(
    population: &'static Population,
    program: Program,
    pid: Option<Pid>,
    parent: Pid,
    ending: Option<Ending>,
) -> Result<Arc<Task>, Errno> {
    let space = NumberedSpace { space: AddressSpace::new(8 << 20)?, number: population.next_space_number() };
    let (files, context) = (program.files.clone(), program.context.clone());
    let relations = pid.map(|first| (first, first));
    let plan = Plan {
        pid,
        kernel: false,
        name: Name::new(&program.path),
        start: Start::Program(Box::new(program)),
        space: Some(space),
        files: Some(files),
        context: Some(context),
        relations,
        parent,
        ending,
    };
    spawn(population, plan)
}

/// What a task that begins as a program does first: it executes it. None: it can't, and the reason is logged.
pub(crate) fn execute_first(task: &Arc<Task>, program: &Program) -> Option<Box<UserContext>> {
    let mut context = Box::new(UserContext::default());
    let result = exec::execute(task, &mut context, program.request());
    if let Some(started) = &program.started {
        started.complete();
    }
    match result {
        Ok(()) => Some(context),
        Err(error) => {
            let path = alloc::string::String::from_utf8_lossy(&program.path);
            machine::log!("process: {path} can't be started: {error}");
            task.leave(127);
            None
        }
    }
}
