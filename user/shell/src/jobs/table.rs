//! The list of jobs, and which of them is the current one.

use rustix::process::Pid;

use super::{Job, State};

/// The numbers of hidden jobs begin above this, so that a person's jobs are counted as if there were no others.
pub const HIDDEN: usize = 1 << 32;

/// How many ended processes are remembered for `wait PROCESS`.
const REMEMBERED: usize = 1000;

/// All jobs, by number. The rules for the current job and the one before it are bash's.
#[derive(Debug, Default)]
pub struct Table {
    jobs: Vec<Job>,
    current: Option<usize>,
    previous: Option<usize>,
    /// Processes of jobs that are gone, and their statuses.
    ended: Vec<(Pid, u8)>,
}

impl Table {
    /// No jobs.
    pub const fn new() -> Self {
        Self { jobs: Vec::new(), current: None, previous: None, ended: Vec::new() }
    }

    /// The jobs, by number: those of a person, or those of a `( … )`.
    pub fn jobs(&self, hidden: bool) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(move |job| job.hidden == hidden)
    }

    /// Takes a job in and returns its number: its own if it has one, else one more than the highest.
    pub fn insert(&mut self, mut job: Job) -> usize {
        if job.id == 0 {
            let first = if job.hidden { HIDDEN } else { 0 };
            job.id = self.jobs(job.hidden).map(|job| job.id).max().unwrap_or(first) + 1;
        }
        let id = job.id;
        let stopped = matches!(job.state(), State::Stopped(_));
        let at = self.jobs.partition_point(|other| other.id < id);
        self.jobs.insert(at, job);
        if stopped {
            self.make_current(id);
        } else {
            self.choose_current();
        }
        id
    }

    /// The job with this number.
    pub fn get(&mut self, id: usize) -> Option<&mut Job> {
        self.jobs.iter_mut().find(|job| job.id == id)
    }

    /// Takes a job out, to be put back or forgotten.
    pub fn take(&mut self, id: usize) -> Option<Job> {
        let at = self.jobs.iter().position(|job| job.id == id)?;
        let job = self.jobs.remove(at);
        self.current = self.current.filter(|current| *current != id).or_else(|| self.previous.take());
        self.previous = self.previous.filter(|previous| *previous != id);
        self.choose_current();
        Some(job)
    }

    /// Takes a job out whose end is known now; its processes are remembered.
    pub fn bury(&mut self, id: usize) -> Option<Job> {
        let job = self.take(id)?;
        self.ended.extend(job.members.iter().map(|member| (member.process, member.state.status())));
        let surplus = self.ended.len().saturating_sub(REMEMBERED);
        self.ended.drain(..surplus);
        Some(job)
    }

    /// Looks how all jobs fare.
    pub fn look(&mut self) {
        self.jobs.iter_mut().for_each(Job::look);
        let ended = self.jobs.iter().filter(|job| job.state().has_ended()).count();
        if ended > REMEMBERED {
            let ids: Vec<usize> = self.jobs.iter().filter(|job| job.state().has_ended()).map(|job| job.id).collect();
            ids.iter().take(ended - REMEMBERED).for_each(|id| drop(self.bury(*id)));
        }
    }

    /// The mark of a job: `+` for the current one, `-` for the one before it.
    pub fn mark(&self, id: usize) -> char {
        match id {
            _ if self.current == Some(id) => '+',
            _ if self.previous == Some(id) => '-',
            _ => ' ',
        }
    }

    /// The lines that a person has not seen yet; jobs that have ended are gone afterwards.
    pub fn news(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let ids: Vec<usize> = self.jobs(false).map(|job| job.id).collect();
        for id in ids {
            let mark = self.mark(id);
            let Some(job) = self.get(id) else { continue };
            let state = job.state();
            let stopped = matches!(state, State::Stopped(_));
            if state == job.told || !(stopped || state.has_ended()) {
                continue;
            }
            job.told = state;
            let line = job.line(mark);
            lines.push(line);
            if stopped {
                self.make_current(id);
            } else {
                self.bury(id);
            }
        }
        lines
    }

    /// The status of a process that has ended, however its job fares.
    pub fn status_of(&self, process: Pid) -> Option<u8> {
        let members = self.jobs.iter().flat_map(|job| &job.members);
        let living = members.filter(|member| member.process == process && member.state.has_ended());
        living
            .map(|member| member.state.status())
            .next()
            .or_else(|| self.ended.iter().rev().find(|(known, _)| *known == process).map(|(_, status)| *status))
    }

    /// The job that a process belongs to.
    pub fn job_of(&self, process: Pid) -> Option<usize> {
        self.jobs.iter().find(|job| job.members.iter().any(|member| member.process == process)).map(|job| job.id)
    }

    /// The job that a word names: `%2`, `%+`, `%-`, `%BEGINNING`, `%?PART`, also without `%`; nothing is the current
    /// one. The error is a message.
    pub fn find(&self, word: Option<&str>, hidden: bool) -> Result<usize, String> {
        let Some(word) = word else { return self.current.ok_or_else(|| "current: no such job".to_owned()) };
        let missing = || format!("{word}: no such job");
        let name = word.strip_prefix('%').unwrap_or(word);
        match name {
            "" | "%" | "+" => return self.current.ok_or_else(missing),
            "-" => return self.previous.ok_or_else(missing),
            _ => {}
        }
        if let Ok(id) = name.parse::<usize>() {
            return self.jobs(hidden).find(|job| job.number() == id).map(|job| job.id).ok_or_else(missing);
        }
        let mut fitting = self.jobs(hidden).filter(|job| match name.strip_prefix('?') {
            Some(part) => job.text.contains(part),
            None => job.text.starts_with(name),
        });
        let first = fitting.next().ok_or_else(missing)?;
        if fitting.next().is_some() { Err(format!("{word}: ambiguous job spec")) } else { Ok(first.id) }
    }

    fn make_current(&mut self, id: usize) {
        if self.current != Some(id) {
            self.previous = self.current.replace(id);
        }
        self.choose_previous();
    }

    /// Chooses the current job anew: a stopped one before one that runs, the younger before the older.
    pub fn choose_current(&mut self) {
        let known = |id: &usize| self.jobs.iter().any(|job| job.id == *id);
        self.current = self.current.filter(known);
        self.previous = self.previous.filter(known);
        let chosen = self
            .current
            .filter(|id| self.is_stopped(*id))
            .or_else(|| self.previous.filter(|id| self.is_stopped(*id)))
            .or_else(|| self.youngest(true, None))
            .or_else(|| self.youngest(false, None));
        match chosen {
            Some(id) => self.make_current(id),
            None => (self.current, self.previous) = (None, None),
        }
    }

    fn choose_previous(&mut self) {
        let Some(current) = self.current else { return };
        self.previous = self.previous.filter(|id| *id != current);
        if self.previous.is_some_and(|id| self.is_stopped(id)) {
            return;
        }
        let stopped = self.is_stopped(current).then(|| self.youngest(true, Some(current))).flatten();
        let running = || {
            let before = self.jobs.iter().rev().find(|job| {
                job.id < current && !job.hidden && !self.is_stopped(current) && job.state() == State::Running
            });
            before.map(|job| job.id).or_else(|| self.youngest(false, Some(current)))
        };
        self.previous = stopped.or_else(running);
    }

    fn is_stopped(&self, id: usize) -> bool {
        self.jobs.iter().any(|job| job.id == id && matches!(job.state(), State::Stopped(_)))
    }

    /// The youngest job that is stopped, or runs, other than one.
    fn youngest(&self, stopped: bool, but: Option<usize>) -> Option<usize> {
        let fits = |job: &&Job| {
            let state = job.state();
            Some(job.id) != but
                && !job.hidden
                && if stopped { matches!(state, State::Stopped(_)) } else { !matches!(state, State::Stopped(_)) }
        };
        self.jobs.iter().rev().find(fits).map(|job| job.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(table: &mut Table, text: &str, state: State) -> usize {
        let mut job = Job::new(text.into(), true);
        job.add(Pid::from_raw(1000 + i32::try_from(table.jobs.len()).unwrap()).unwrap(), text.into());
        job.members[0].state = state;
        table.insert(job)
    }

    fn marks(table: &Table) -> String {
        table.jobs.iter().map(|job| table.mark(job.id)).collect()
    }

    fn set(table: &mut Table, id: usize, state: State) {
        table.get(id).unwrap().members[0].state = state;
    }

    const RUNS: State = State::Running;
    const STOPPED: State = State::Stopped(20);

    #[test]
    fn the_current_job_is_the_last_stopped_or_else_the_youngest() {
        // As bash does it, step by step: two in the background, a third stopped by Ctrl-Z.
        let mut table = Table::new();
        add(&mut table, "sleep 100", RUNS);
        assert_eq!(marks(&table), "+");
        add(&mut table, "sleep 101", RUNS);
        assert_eq!(marks(&table), "-+");
        add(&mut table, "sleep 102", STOPPED);
        assert_eq!(marks(&table), " -+");
        // `fg %1`, Ctrl-Z.
        let mut first = table.take(1).unwrap();
        first.members[0].state = STOPPED;
        table.insert(first);
        assert_eq!(marks(&table), "+ -");
    }

    #[test]
    fn numbers_go_on_from_the_highest() {
        let mut table = Table::new();
        add(&mut table, "a", RUNS);
        add(&mut table, "b", RUNS);
        table.take(1);
        assert_eq!(add(&mut table, "c", RUNS), 3);
        table.take(2);
        table.take(3);
        assert_eq!(add(&mut table, "d", RUNS), 1);
    }

    #[test]
    fn hidden_jobs_take_no_numbers() {
        let mut table = Table::new();
        let mut job = Job::new("x".into(), true);
        job.hidden = true;
        table.insert(job);
        assert_eq!(add(&mut table, "a", RUNS), 1);
        assert_eq!(marks(&table), "+ ");
        let hidden = table.find(Some("%1"), true).unwrap();
        assert_ne!(hidden, 1);
        assert_eq!(table.get(hidden).unwrap().number(), 1);
    }

    #[test]
    fn an_end_is_told_once_and_remembered() {
        let mut table = Table::new();
        let id = add(&mut table, "sleep 1", RUNS);
        assert!(table.news().is_empty());
        set(&mut table, id, State::Killed { signal: 15, core: false });
        assert_eq!(table.news(), ["[1]+  Terminated              sleep 1"]);
        assert!(table.news().is_empty());
        assert_eq!(table.status_of(Pid::from_raw(1000).unwrap()), Some(143));
    }

    #[test]
    fn jobs_are_found_by_number_mark_and_text() {
        let mut table = Table::new();
        add(&mut table, "sleep 100", RUNS);
        add(&mut table, "cat", RUNS);
        add(&mut table, "sleep 7", RUNS);
        let find = |word: &str| table.find(Some(word), false);
        assert_eq!((find("%3"), find("%+"), find("%-")), (Ok(3), Ok(3), Ok(2)));
        assert_eq!((find("%ca"), find("%?100"), find("2")), (Ok(2), Ok(1), Ok(2)));
        assert_eq!(find("%sleep"), Err("%sleep: ambiguous job spec".to_owned()));
        assert_eq!(find("%9"), Err("%9: no such job".to_owned()));
        assert_eq!(Table::new().find(None, false), Err("current: no such job".to_owned()));
    }
}
