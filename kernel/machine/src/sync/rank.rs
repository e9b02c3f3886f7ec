//! The order of locks: one constant for each kind, lowest taken first.
//!
//! A thread that holds a lock of rank *n* may take only locks of higher rank; a second lock of equal rank only
//! through `lock_nested`, where the rule that orders the two is said (parent before child, by serial number).
//! Locks that interrupt handlers take ([`IrqLock`](super::IrqLock)) rank above all that they don't.

/// The place of a lock in the order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    order: u16,
    name: &'static str,
}

impl Rank {
    /// A rank of its own. The kernel's ranks stand in this module; tests may make more.
    pub const fn new(order: u16, name: &'static str) -> Self {
        Self { order, name }
    }

    /// The number; lower is taken first.
    pub const fn order(self) -> u16 {
        self.order
    }

    /// The word for messages.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

macro_rules! ranks {
    ($($(#[$doc:meta])* $name:ident = $order:expr;)*) => {
        $($(#[$doc])* pub const $name: Rank = Rank::new($order, stringify!($name));)*

        #[cfg(test)]
        const ALL: &[Rank] = &[$($name),*];
    };
}

ranks! {
    // Sleeping locks.
    /// The steps of one exec or of ending all threads of a process.
    EXEC = 10;
    /// What is told to one who waits at an epoll file, while others wait for their turn.
    EPOLL_TURN = 15;
    /// The events of an asynchronous context that one who reaps is taking to its memory, while others wait for their turn.
    EVENT_TURN = 16;
    /// A terminal's line and job-control state as its readers and writers see it (sleeping part).
    TERMINAL = 20;
    /// The offset of an open file.
    FILE_POSITION = 30;
    /// The text of an open file, made when it is read.
    FILE_TEXT = 35;
    /// Renames that move a directory: one at a time in a file system.
    RENAME = 40;
    /// A file system that is being configured.
    FILE_SYSTEM_CONFIGURATION = 45;
    /// The mounts of a namespace.
    MOUNTS = 50;
    /// A directory: its entries. Two of one level: parent before child, else by number.
    DIRECTORY = 60;
    /// An inode's attributes and what belongs to writing it.
    INODE = 70;
    /// CPUs that go offline or come back: one at a time.
    CPU_ONLINE = 90;
    /// The framework's `manage` lock: shared for moves, mkdir, rmdir, exclusive for mount and umount.
    MANAGE = 100;
    /// One container. Parent before child, two of one level by serial number.
    CONTAINER = 110;
    /// A controller's rule that spans containers (cpuset's, devices').
    CONTROLLER_RULE = 120;
    /// The gate of a process: read by fork, written by moves.
    GATE = 130;
    /// The areas of an address space.
    ADDRESS_SPACE = 140;
    /// The pages of a file.
    PAGE_CACHE = 150;
    /// The clean copies of a file's pages, and the list of files that have some.
    FILE_COPIES = 155;
    /// What is inside a pipe, a socket or another object of the file layer, where it may sleep.
    FILE_OBJECT = 160;
    /// What tasks have reserved of the CPUs' time is looked at or changes.
    RESERVATIONS = 165;

    // Spinning locks.
    /// The table of task numbers, sessions and process groups, parent and child links.
    TASK_TABLE = 300;
    /// A process: its threads, state and children's news.
    PROCESS = 310;
    /// What a task has for itself (names, credentials).
    TASK = 320;
    /// The tie between a traced task and its tracer.
    TRACE = 325;
    /// The descriptors of a process.
    FILE_TABLE = 330;
    /// Root, working directory and umask.
    FILE_CONTEXT = 340;
    /// The tables of System V objects, and the sets of semaphores in which a process has something to undo.
    IPC_TABLE = 345;
    /// A System V set of semaphores or queue of messages.
    IPC_OBJECT = 347;
    /// The files that are on their way through sockets.
    FLIGHT = 348;
    /// Small state of an open file or an inode.
    FILE_STATE = 350;
    /// The sockets whose files are to be closed.
    CLOSING = 355;
    /// A pipe's or socket's buffer.
    BUFFER = 360;
    /// What is done about each signal; shared by processes made with CLONE_SIGHAND.
    SIGNAL_ACTIONS = 365;
    /// The signals that wait for one task, and its alternate stack.
    SIGNALS = 370;
    /// Who waits for locks that lend priority.
    PRIORITY_FUTEX = 378;
    /// Futex queues, by address.
    FUTEX = 380;
    /// The container framework's table of active hierarchies.
    HIERARCHIES = 385;
    /// One bucket of the table of container sets.
    SET_TABLE = 390;
    /// A container's lists of children and of sets.
    CONTAINER_LISTS = 395;
    /// A container set: task lists and populated counts. Two by serial number.
    SET = 400;
    /// A controller's own.
    CONTROLLER = 410;
    /// Containers that wait for their release agent; names and small texts of containers.
    CONTAINER_TEXTS = 415;
    /// Pages of one address space's tables.
    PAGE_TABLE = 420;

    // Locks that interrupt handlers take too.
    /// A serial line's received bytes.
    CONSOLE_INPUT = 700;
    /// Processes whose timers have struck.
    STRUCK_TIMERS = 705;
    /// Who watches which inode.
    WATCHES = 706;
    /// The events that wait in an inotify file.
    FILE_EVENTS = 708;
    /// What is to be told to the owners of files.
    FILE_NOTICES = 709;
    /// The tasks and observers that wait for an event.
    WAIT_QUEUE = 710;
    /// What an observer of a wait queue keeps (the ready list of an epoll file).
    OBSERVER = 720;
    /// Where a timer waits.
    TIMERS = 730;
    /// The timers of a CPU.
    TIMER_QUEUE = 735;
    /// Where a task may run and whether it does.
    TASK_STATE = 740;
    /// A run queue. Two by CPU number.
    RUN_QUEUE = 750;
    /// What a CPU's scheduler keeps about the running task and the switch under way.
    CPU_STATE = 760;
    /// Kernel address space for stacks and mappings.
    KERNEL_MAPPINGS = 790;
    /// What a CPU has to do with accounts of pages.
    PAGE_ACCOUNTS = 795;
    /// Free objects of the kernel heap that a CPU keeps for itself.
    HEAP_CACHE = 800;
    /// A size class of the kernel heap; it takes page frames.
    HEAP = 804;
    /// Page frames that a CPU keeps for itself.
    FRAME_CACHE = 806;
    /// Page frames of a node.
    FRAMES = 810;
    /// A leaf for small things, under which nothing is taken.
    LEAF = 880;
    /// The kernel log and a serial port's output.
    LOG = 900;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_ascend_as_they_are_listed() {
        assert!(ALL.windows(2).all(|pair| pair[0].order() < pair[1].order()));
    }
}
