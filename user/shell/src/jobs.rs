//! Jobs: the groups of processes that the shell has started, how they fare, and how that is told.
//!
//! brush's own list of jobs is not used: it takes the stop of any child for that of the one it waits for, gives numbers
//! twice, and does not know how a job ended.

mod state;
mod table;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpid};

pub use state::State;
use table::HIDDEN;
pub use table::Table;

/// A process of a job.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its number.
    pub process: Pid,
    /// Its command, as typed.
    pub text: String,
    /// How it fares, as far as the shell knows.
    pub state: State,
}

/// Some processes that were started together.
#[derive(Clone, Debug)]
pub struct Job {
    /// The number that a person calls it by; 0 before it has one.
    pub id: usize,
    /// Its processes, in the order of the pipeline.
    pub members: Vec<Member>,
    /// The whole command, as typed.
    pub text: String,
    /// It is a process group of its own, led by the first member.
    pub grouped: bool,
    /// It belongs to a `( … )` and is not for the person at the shell.
    pub hidden: bool,
    /// What a person was last told of it.
    pub told: State,
}

impl Job {
    /// A job without processes.
    pub fn new(text: String, grouped: bool) -> Self {
        Self { id: 0, members: Vec::new(), text, grouped, hidden: false, told: State::Running }
    }

    /// The number as a person sees it.
    pub fn number(&self) -> usize {
        self.id % HIDDEN
    }

    /// Adds a process that was just started.
    pub fn add(&mut self, process: Pid, text: String) {
        self.members.push(Member { process, text, state: State::Running });
    }

    /// The process group, if it has one of its own.
    pub fn group(&self) -> Option<Pid> {
        self.members.first().filter(|_| self.grouped).map(|first| first.process)
    }

    /// How the whole job fares: it runs while any process does, and is stopped while any is; then the last one counts.
    pub fn state(&self) -> State {
        let find = |wanted: fn(&State) -> bool| self.members.iter().map(|member| member.state).find(wanted);
        find(|state| *state == State::Running)
            .or_else(|| find(|state| matches!(state, State::Stopped(_))))
            .or_else(|| self.members.last().map(|last| last.state))
            .unwrap_or(State::Exited(0))
    }

    /// Asks the kernel how each process fares; what has ended is gone from the kernel's list afterwards.
    pub fn look(&mut self) {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED | WaitOptions::CONTINUED;
        for member in self.members.iter_mut().filter(|member| !member.state.has_ended()) {
            loop {
                match waitpid(Some(member.process), options) {
                    Ok(Some((_, status))) => {
                        member.state = State::of(status).unwrap_or(member.state);
                        if member.state.has_ended() {
                            break;
                        }
                    }
                    Err(Errno::INTR) => {}
                    // Somebody else has seen its end, as a program that replaced the shell's predecessor might.
                    Err(Errno::CHILD) => {
                        member.state = State::Exited(127);
                        break;
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }

    /// Sends a signal to all of its processes.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        if let Some(group) = self.group() {
            return kill_process_group(group, signal);
        }
        self.members
            .iter()
            .filter(|member| !member.state.has_ended())
            .try_for_each(|member| kill_process(member.process, signal))
    }

    /// Lets it go on after a stop.
    pub fn resume(&mut self) -> Result<(), Errno> {
        self.signal(Signal::CONT)?;
        for member in self.members.iter_mut().filter(|member| matches!(member.state, State::Stopped(_))) {
            member.state = State::Running;
        }
        self.told = State::Running;
        Ok(())
    }

    /// The line that shows it; `mark` tells the current job and the one before.
    pub fn line(&self, mark: char) -> String {
        let state = self.state();
        let (core, more) = (state.core_note(), if state == State::Running { " &" } else { "" });
        format!("[{}]{mark}  {:<24}{core}{}{more}", self.number(), state.to_string(), self.text)
    }

    /// The lines that show each of its processes.
    pub fn long_lines(&self, mark: char) -> String {
        let whole = self.state();
        let more = if whole == State::Running { " &" } else { "" };
        let mut lines = String::new();
        for (index, member) in self.members.iter().enumerate() {
            let process = member.process.as_raw_nonzero();
            let last = if index + 1 == self.members.len() { more } else { "" };
            lines += &if index == 0 {
                let core = whole.core_note();
                format!("[{}]{mark} {process:>5} {:<24}{core}{}{last}", self.number(), whole.to_string(), member.text)
            } else {
                let state = if member.state == whole { String::new() } else { member.state.to_string() };
                format!("\n     {process:>5} {state:<22}| {}{last}", member.text)
            };
        }
        lines
    }
}

static TABLE: Mutex<Table> = Mutex::new(Table::new());

/// All jobs. Not to be held across an await.
pub fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(states: &[State]) -> Job {
        let mut job = Job::new("a | b".into(), true);
        job.id = 2;
        for (index, state) in states.iter().enumerate() {
            job.add(Pid::from_raw(700 + i32::try_from(index).unwrap()).unwrap(), ["a", "b"][index].into());
            job.members[index].state = *state;
        }
        job
    }

    #[test]
    fn a_job_runs_while_any_process_does_and_ends_as_the_last() {
        use State::{Exited, Killed, Running, Stopped};
        let killed = Killed { signal: 9, core: false };
        assert_eq!(job(&[Exited(0), Running]).state(), Running);
        assert_eq!(job(&[Stopped(20), Exited(0)]).state(), Stopped(20));
        assert_eq!(job(&[Stopped(20), Running]).state(), Running);
        assert_eq!(job(&[killed, Exited(3)]).state(), Exited(3));
    }

    #[test]
    fn lines_are_as_in_bash() {
        use State::{Exited, Killed, Running, Stopped};
        assert_eq!(job(&[Running, Running]).line('+'), "[2]+  Running                 a | b &");
        assert_eq!(job(&[Exited(0), Exited(3)]).line('-'), "[2]-  Exit 3                  a | b");
        let killed = Killed { signal: 11, core: true };
        assert_eq!(job(&[killed]).line(' '), "[2]   Segmentation fault      (core dumped) a | b");
        assert_eq!(
            job(&[Stopped(20), Stopped(20)]).long_lines('+'),
            "[2]+   700 Stopped                 a\n       701                       | b"
        );
    }

    #[test]
    fn a_process_of_somebody_else_has_ended() {
        let mut job = Job::new("x".into(), false);
        job.add(Pid::from_raw(i32::MAX).unwrap(), "x".into());
        job.look();
        assert_eq!(job.state(), State::Exited(127));
    }
}
