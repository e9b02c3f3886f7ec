//! probe: a program for the scenarios, which does on purpose what no program should.
//!
//! It runs on Linux too, so that what a scenario expects can be compared with the original. It is the one program of
//! ours in user space that needs unsafe code: a bad pointer can't be passed in any other way.

mod adoption;
mod ahead;
mod aio;
mod attributes;
mod audit;
mod born;
mod checks;
mod child;
mod choices;
mod clocks;
mod cores;
mod cuts;
mod faults;
mod file_sizes;
mod filters;
mod frames;
mod fuzz;
mod hog;
mod ipc;
mod kernel_log;
mod killed;
mod large;
mod layouts;
mod leases;
mod locks;
mod many_tasks;
mod memory_files;
mod migration;
mod mount_files;
mod mount_flags;
mod mounts;
mod namespaces;
mod notices;
mod opening;
mod others;
mod overcommit;
mod own_memory;
mod pointers;
mod policies;
mod posix_queues;
mod process_files;
mod reservations;
mod self_settings;
mod sequences;
mod set_clock;
mod settings;
mod shares;
mod signal_files;
mod soak;
mod socket_ends;
mod socket_names;
mod sockets;
mod spend;
mod splice;
mod storm;
mod sweep;
mod terminals;
mod tracing;
mod waiting;
mod ways;

use std::process::ExitCode;

const HELP: &str = "usage: probe COMMAND
  pointers          bad addresses in every system call that takes one
  pidfd             files that stand for processes, in every way they are used
  sizes             the limit on the size of files, in every way to make one longer
  clocks            the vDSO: time and CPU without a system call
  many-tasks        programs for who has become a user with too many tasks
  self-settings     what a process sets of itself, RLIMIT_RTTIME, files of /proc about it
  set-clock         setting the time of day, and who waits for a time of it
  cores             core dumps: what is in them, what they are called, who reads them
  keep DIR WORD...  copies its input into a file of DIR
  wait              waits for the end of who writes to its input
  cuts              memory whose file is cut off
  overcommit        how much memory may be promised, in every mode
  own-memory        calls on its own memory, what each refuses and in which order
  locks             locks that lend priority, sleeping on several words
  others            calls that reach into other processes, programs in other domains
  persona NUMBER    whether its execution domain is this one
  frames            frames of signal handlers: changed ones, stacks that end in them
  sequences         restartable sequences, and barriers on the CPUs of others
  settings          what may be written to /proc/sys, and that it is obeyed
  log               the kernel log by all its doors
  ipc               semaphores and messages of System V between processes
  mount-files       open_tree, move_mount, mount_setattr, fsopen and its relatives: errors and what they do
  mount-flags       what flags of mounts do: statfs, access times, read-only
  mounts            mount, umount2 and pivot_root: errors, propagation, expiry
  mq                POSIX message queues
  aio               io_setup and its relatives: errors, events, whose contexts are whose
  aio storm ROUNDS  threads and killed programs in contexts that others end
  notices           signals from files: owners, O_ASYNC, F_NOTIFY
  leases            leases, locks that wait for each other, what /proc tells of them
  adoption          children whose parents end at the same moment
  waiting           signals that wait, timers, where a task sleeps
  ways              flags of preadv2 and pwritev2, buffers of which a part is good
  memfd             memfd_create, seals, and files without a name
  signalfd          signals that are read from a file
  sockets           options and messages of local sockets
  terminals         requests and modes of terminals, on pseudo-terminals
  tracing PART      ptrace: errors, stops, emulation, watch, ends, threads, stress or all
  filters PART      seccomp: errors, effects, heirs, threads, tracers, answers, signals or all
  filtered ERRNO    whether a call of it fails with this
  filters-in DIR    calls that wait for an answer in the container DIR of a freezer
  traced DIR        tracees in the container DIR of a freezer
  openat2           opening within bounds, and old forms of calls on files
  splice            splice, tee, vmsplice, sendfile and copy_file_range
  xattr PATH        extended attributes of PATH
  policies          memory policies on two nodes, by every call of their family
  policies confined the same of a task that may use node 1 only
  policy MODE NODES COMMAND...
                    runs COMMAND with a memory policy; NODES is a mask
  policy            says the policy that it has
  fault KIND        null, write, divide, illegal, privileged, stack, code, noncanonical,
                    breakpoint, kernel
  survive           each kind of fault in a child of its own; says by which signal each died
  layouts           where programs lie, by every setting
  places            where this one lies
  memory            touches memory until there is none
  ahead             how many pages the first store to large memory brings in
  hold MIB          touches so much memory and waits
  tables COUNT      makes so many page tables; says on which nodes
  forks COUNT       starts COUNT sleeping children; says how many there were and why no more
  spend WHAT MOST   takes files, pipes, terminals, signals, private, locked or shared
                    memory, segments, or filters, until it is refused
  shares SECONDS HOW...
                    busy children on CPU 0; says what percentage of it each got. HOW is a
                    nice value, batch, idle, fifo:PRIORITY, rr:PRIORITY, or, in milliseconds and on
                    any CPU, deadline:RUNTIME:PERIOD or reclaim:RUNTIME:PERIOD
  reserve MS MS     reserves so much of each such period, says so, and waits
  sleeps COUNT MS   sleeps so often and so long; says by how much the longest was over
  fuzz SEED FIRST ROUNDS SECONDS PROCESSES CALLS [NAME...]
                    random system calls with half-sensible arguments, in rounds
  born DIR          children that are born into a container of cpuacct's hierarchy at DIR
  sweep DIR         bad input for every control file of the hierarchy at DIR
  large             as many areas, arguments and packets as there may be
  killed            a child in each state that a program can be in, killed there
  storm WHAT MUCH   everything (times), memory (ways), tasks or files (how many) at once, and
                    every count is back afterwards
  soak SECONDS DIR  storms of fork, exec, exit, move, mount and umount, mounting below DIR
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let fine = match words[..] {
        ["pointers"] => pointers::run(),
        ["pidfd"] => process_files::run(),
        ["sizes"] => file_sizes::run(),
        ["clocks"] => clocks::run(),
        ["many-tasks"] => many_tasks::run(),
        ["reservations"] => reservations::run(),
        ["reserve", runtime, period] => {
            matches!((runtime.parse(), period.parse()), (Ok(runtime), Ok(period)) if reservations::hold(runtime, period))
        }
        ["self-settings"] => self_settings::run(),
        ["set-clock"] => set_clock::run(),
        ["cores"] => cores::run(),
        ["keep", place, ref words @ ..] => cores::keep(place, words),
        ["wait"] => cores::wait(),
        ["cuts"] => cuts::run(),
        ["overcommit"] => overcommit::run(),
        ["own-memory"] => own_memory::run(),
        ["locks"] => locks::run(),
        ["others"] => others::run(),
        ["persona", expected] => expected.parse().is_ok_and(others::has_persona),
        ["frames"] => frames::run(),
        ["sequences"] => sequences::run(),
        ["settings"] => settings::run(),
        ["log"] => kernel_log::run(),
        ["ipc"] => ipc::run(),
        ["mount-files"] => mount_files::run(),
        ["mount-flags"] => mount_flags::run(),
        ["mounts"] => mounts::run(),
        ["mq"] => posix_queues::run(),
        ["aio"] => aio::run(),
        ["aio", "storm", rounds] => rounds.parse().is_ok_and(aio::storm),
        ["namespaces"] => namespaces::run(),
        ["notices"] => notices::run(),
        ["leases"] => leases::run(),
        ["adoption"] => adoption::run(),
        ["waiting"] => waiting::run(),
        ["ways"] => ways::run(),
        ["memfd"] => memory_files::run(),
        ["signalfd"] => signal_files::run(),
        ["sockets"] => sockets::run(),
        ["terminals"] => terminals::run(),
        ["tracing", part] => tracing::run(part),
        ["filters", part] => filters::run(part),
        ["filtered", errno] => errno.parse().is_ok_and(filters::judge_exec),
        ["filters-in", container] => filters::run_in(container),
        ["traced", container] => tracing::run_in(container),
        ["openat2"] => opening::run(),
        ["splice"] => splice::run(),
        ["xattr", path] => attributes::run(path),
        ["policies"] => policies::run(false),
        ["policies", "confined"] => policies::run(true),
        ["policy"] => policies::show(),
        ["policy", mode, nodes, ref command @ ..] => policies::become_with(mode, nodes, command),
        ["fault", kind] => faults::run(kind),
        ["survive"] => faults::survive(),
        ["layouts"] => layouts::run(),
        ["places"] => layouts::show(),
        ["memory"] => hog::memory(),
        ["ahead"] => ahead::run(),
        ["tables", count] => count.parse().is_ok_and(hog::tables),
        ["hold", mib] => mib.parse().is_ok_and(hog::hold),
        ["forks", count] => count.parse().is_ok_and(hog::forks),
        ["spend", what, most] => most.parse().is_ok_and(|most| spend::run(what, most)),
        ["shares", seconds, ref how @ ..] => seconds.parse().is_ok_and(|seconds| shares::run(seconds, how)),
        ["sleeps", count, milliseconds] => {
            matches!((count.parse(), milliseconds.parse()), (Ok(count), Ok(long)) if shares::sleeps(count, long))
        }
        ["soak", seconds, directory] => seconds.parse().is_ok_and(|seconds| soak::run(seconds, directory)),
        ["fuzz", ref numbers @ ..] => fuzz::from_words(numbers).is_some_and(|plan| fuzz::run(&plan)),
        ["killed"] => killed::run(),
        ["large"] => large::run(),
        ["strings", count, ref strings @ ..] => large::are_strings(count, strings),
        ["storm", what, much] => much.parse().is_ok_and(|much| storm::run(what, much)),
        ["born", directory] => born::run(directory),
        ["sweep", directory] => sweep::run(directory),
        ["nothing"] => true,
        _ => {
            eprint!("{HELP}");
            false
        }
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
