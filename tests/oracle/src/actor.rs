//! What one task can do when it is told to: the verbs that change or read something, and passing words on to the
//! tasks that it has made. The program runs once for each process; a thread has an actor of its own.

use crate::errno;
use crate::operation::{escape, unescape};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, XattrFlags, getxattr, linkat, listxattr, mkdirat, mknodat, openat,
    removexattr, renameat, setxattr, symlinkat, unlinkat,
};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;

/// A task that acts, and those that it has made.
#[derive(Default)]
pub struct Actor {
    children: BTreeMap<u32, Child>,
    files: BTreeMap<Vec<u8>, File>,
}

enum Child {
    Process {
        child: std::process::Child,
        words: Option<ChildStdin>,
        answers: BufReader<ChildStdout>,
    },
    Thread {
        number: i32,
        words: mpsc::Sender<String>,
        answers: mpsc::Receiver<String>,
        handle: std::thread::JoinHandle<()>,
    },
}

type Answer = Result<String, String>;

fn fine<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| errno::name(error.raw_os_error().unwrap_or(0)))
}

fn good<T>(result: rustix::io::Result<T>) -> Result<T, String> {
    result.map_err(|errno| errno::name(errno.raw_os_error()))
}

fn ok<T>(_: T) -> String {
    "ok".to_owned()
}

fn path(word: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(word))
}

fn number<T: std::str::FromStr>(word: &[u8]) -> Result<T, String> {
    std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()).ok_or_else(|| "no number".to_owned())
}

/// Everything that a file shows from where its offset is.
fn read_all(file: &mut File) -> std::io::Result<Vec<u8>> {
    let (mut text, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(text),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The names of a file's extended attributes, in the order of the alphabet.
///
/// Errors: the name of the errno.
pub fn attributes(place: &Path) -> Answer {
    let mut list = [0; 4096];
    let length = good(listxattr(place, &mut list))?;
    let mut names: Vec<_> =
        list[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(escape).collect();
    names.sort();
    Ok(names.join(","))
}

/// The names of the containers in a directory that is open, in the order of the alphabet.
fn containers_in(directory: &File) -> Answer {
    let mut names = Vec::new();
    for entry in good(Dir::read_from(directory))? {
        let entry = good(entry)?;
        if entry.file_type() == FileType::Directory {
            names.push(escape(entry.file_name().to_bytes()));
        }
    }
    names.sort();
    Ok(names.join(","))
}

fn write_once(file: &mut File, text: &[u8]) -> Answer {
    let count = fine(file.write(text))?;
    Ok(if count == text.len() { ok(()) } else { format!("ok {count} of {}", text.len()) })
}

/// What `poll` says of the file at once, or when a notice has come that is due `soon`: both systems keep one back for 10 ms
/// after the one before.
fn polled(file: &File, soon: bool) -> Result<u16, String> {
    if soon {
        let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        good(poll(&mut [PollFd::new(file, PollFlags::PRI)], Some(&patience)))?;
    }
    let events = PollFlags::IN | PollFlags::OUT | PollFlags::PRI | PollFlags::RDNORM | PollFlags::WRNORM;
    let mut asked = [PollFd::new(file, events)];
    good(poll(&mut asked, Some(&Timespec::default())))?;
    Ok(asked[0].revents().bits())
}

/// Tries to make something in an open directory, `from` being another name of what is linked. Of a container that has
/// not been removed none of this changes anything.
fn make_inside(directory: &File, what: &[u8], from: &Path) -> Result<(), String> {
    let mode = Mode::from_raw_mode(0o644);
    good(match what {
        b"mkdir" => mkdirat(directory, "tasks", mode),
        b"mknod" => mknodat(directory, "odd", FileType::Fifo, mode, 0),
        b"symlink" => symlinkat("x", directory, "odd"),
        b"link" => linkat(CWD, from, directory, "odd", AtFlags::empty()),
        b"create" => openat(directory, "odd", OFlags::CREATE | OFlags::WRONLY, mode).map(drop),
        b"open" => openat(directory, "tasks", OFlags::RDONLY, mode).map(drop),
        b"unlink" => unlinkat(directory, "tasks", AtFlags::empty()),
        b"rmdir" => unlinkat(directory, "tasks", AtFlags::REMOVEDIR),
        _ => renameat(directory, "tasks", directory, "odd"),
    })
}

impl Actor {
    /// Obeys lines from standard input, `ROUTE WORDS`, and answers each on standard output, until the input ends.
    pub fn obey() {
        let mut actor = Self::default();
        println!("ready");
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            println!("{}", actor.dispatch(&line));
        }
        actor.end_all();
    }

    /// Does what a line says, here or in the child that its route leads to. A route is the numbers of the tasks on the
    /// way, joined by `/`; `.` is here.
    pub fn dispatch(&mut self, line: &str) -> String {
        let (route, words) = line.split_once(' ').unwrap_or((line, ""));
        if route == "." {
            let words: Vec<_> = words.split_ascii_whitespace().map(unescape).collect();
            let words: Vec<_> = words.iter().map(Vec::as_slice).collect();
            return self.act(&words).unwrap_or_else(|errno| errno);
        }
        let (next, rest) = route.split_once('/').unwrap_or((route, "."));
        let line = format!("{rest} {words}\n");
        match next.parse().ok().and_then(|next: u32| self.children.get_mut(&next)) {
            Some(Child::Process { words: Some(words), answers, .. }) => {
                let mut answer = String::new();
                if words.write_all(line.as_bytes()).is_err() || !matches!(answers.read_line(&mut answer), Ok(1..)) {
                    return "gone".to_owned();
                }
                answer.trim_end().to_owned()
            }
            Some(Child::Thread { words, answers, .. }) => {
                let answer = words.send(line).ok().and_then(|()| answers.recv().ok());
                answer.unwrap_or_else(|| "gone".to_owned())
            }
            _ => "no such task".to_owned(),
        }
    }

    fn act(&mut self, words: &[&[u8]]) -> Answer {
        match *words {
            [b"mount", kind, place, data] => {
                let data = CString::new(data).map_err(|_| "NUL".to_owned())?;
                good(mount("fuzz", path(place), path(kind), MountFlags::empty(), data.as_c_str())).map(ok)
            }
            [b"remount", place, data] => {
                let data = CString::new(data).map_err(|_| "NUL".to_owned())?;
                good(mount_remount(path(place), MountFlags::empty(), data.as_c_str())).map(ok)
            }
            [b"umount", place] => good(unmount(path(place), UnmountFlags::empty())).map(ok),
            [b"mkdir", place] => fine(fs::create_dir(path(place))).map(ok),
            [b"rmdir", place] => fine(fs::remove_dir(path(place))).map(ok),
            [b"rename", from, to] => fine(fs::rename(path(from), path(to))).map(ok),
            [b"unlink", place] => fine(fs::remove_file(path(place))).map(ok),
            [b"symlink", place] => fine(std::os::unix::fs::symlink("x", path(place))).map(ok),
            [b"link", from, to] => fine(fs::hard_link(path(from), path(to))).map(ok),
            [b"mknod", place] => good(mknodat(CWD, path(place), FileType::Fifo, Mode::from_raw_mode(0o644), 0)).map(ok),
            [b"create", place] => {
                fine(OpenOptions::new().write(true).create(true).truncate(true).open(path(place))).map(ok)
            }
            [b"chmod", place, mode] => {
                let mode = fs::Permissions::from_mode(number(mode)?);
                fine(fs::set_permissions(path(place), mode)).map(ok)
            }
            [b"chown", place, uid] => {
                let uid = Some(number(uid)?);
                fine(std::os::unix::fs::chown(path(place), uid, uid)).map(ok)
            }
            [b"setxattr", place, name, value, how] => {
                let flags = match how {
                    b"create" => XattrFlags::CREATE,
                    b"replace" => XattrFlags::REPLACE,
                    _ => XattrFlags::empty(),
                };
                good(setxattr(path(place), path(name), value, flags)).map(ok)
            }
            [b"getxattr", place, name] => {
                let mut value = [0; 4096];
                let length = good(getxattr(path(place), path(name), &mut value))?;
                Ok(format!("ok {}", escape(&value[..length])))
            }
            [b"listxattr", place] => attributes(path(place)).map(|names| format!("ok {names}")),
            [b"removexattr", place, name] => good(removexattr(path(place), path(name))).map(ok),
            [b"write", place, text] => {
                let mut file = fine(OpenOptions::new().write(true).open(path(place))).map_err(at_open)?;
                write_once(&mut file, text)
            }
            [b"append", place, text] => {
                let options = OFlags::APPEND | OFlags::TRUNC;
                let mut options_of_file = OpenOptions::new();
                options_of_file.write(true).custom_flags(options.bits().cast_signed());
                write_once(&mut fine(options_of_file.open(path(place))).map_err(at_open)?, text)
            }
            [b"read", place] => {
                let mut file = fine(File::open(path(place))).map_err(at_open)?;
                Ok(format!("ok {}", escape(&fine(read_all(&mut file))?)))
            }
            [b"hold", name, place, mode] => {
                let (read, write) = (mode.contains(&b'r') || mode == b"d", mode.contains(&b'w'));
                let file = fine(OpenOptions::new().read(read).write(write).open(path(place)))?;
                self.files.insert(name.to_vec(), file);
                Ok(ok(()))
            }
            [b"put", name, text] => match self.files.get_mut(name) {
                Some(file) => write_once(file, text),
                None => Ok("not held".to_owned()),
            },
            [b"get", name] => match self.files.get_mut(name) {
                Some(file) => {
                    fine(file.seek(SeekFrom::Start(0)))?;
                    Ok(format!("ok {}", escape(&fine(read_all(file))?)))
                }
                None => Ok("not held".to_owned()),
            },
            [b"list", name] => match self.files.get(name) {
                Some(file) => containers_in(file).map(|names| format!("ok {names}")),
                None => Ok("not held".to_owned()),
            },
            [b"poll", name, how] => match self.files.get(name) {
                Some(file) => polled(file, how == b"soon").map(|events| format!("ok {events:x}")),
                None => Ok("not held".to_owned()),
            },
            [b"inside", name, what, from] => match self.files.get(name) {
                Some(directory) => make_inside(directory, what, path(from)).map(ok),
                None => Ok("not held".to_owned()),
            },
            [b"drop", name] => Ok(if self.files.remove(name).is_some() { "ok" } else { "not held" }.to_owned()),
            [b"affinity", task, list] => {
                let mut set = CpuSet::new();
                list.split(|&byte| byte == b',').filter_map(|cpu| number(cpu).ok()).for_each(|cpu| set.set(cpu));
                good(sched_setaffinity(Pid::from_raw(number(task)?), &set)).map(ok)
            }
            [b"spawn", id, uid] => self.spawn(number(id)?, number(uid)?),
            [b"thread", id] => self.thread(number(id)?),
            [b"stop", id] => self.stop(number(id)?),
            [b"reap", id] => self.reap(number(id)?),
            _ => Ok("no such verb".to_owned()),
        }
    }

    /// A process of that user, which obeys on its standard input.
    fn spawn(&mut self, id: u32, uid: u32) -> Answer {
        let mut command = Command::new("/init");
        command.arg("obey").stdin(Stdio::piped()).stdout(Stdio::piped());
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        let mut child = fine(command.spawn())?;
        let (words, answers) = (child.stdin.take(), child.stdout.take());
        let (Some(words), Some(answers)) = (words, answers) else { return Ok("no pipes".to_owned()) };
        let mut answers = BufReader::new(answers);
        let mut ready = String::new();
        fine(answers.read_line(&mut ready))?;
        let number = child.id();
        self.children.insert(id, Child::Process { child, words: Some(words), answers });
        Ok(format!("ok {number}"))
    }

    fn thread(&mut self, id: u32) -> Answer {
        let (words, lines) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        let run = move || {
            let mut actor = Self::default();
            // A failed send is the end of the one who would have heard it.
            let _ = answer.send(gettid().as_raw_nonzero().to_string());
            for line in lines {
                let _ = answer.send(actor.dispatch(line.trim_end()));
            }
            // Before it ends: its children would be zombies that nobody reaps.
            actor.end_all();
        };
        let handle = fine(std::thread::Builder::new().stack_size(64 << 10).spawn(run))?;
        let number = answers.recv().ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        self.children.insert(id, Child::Thread { number, words, answers, handle });
        Ok(format!("ok {number}"))
    }

    /// Ends a child and waits until it has ended: a process is a zombie then, a thread is gone.
    fn stop(&mut self, id: u32) -> Answer {
        match self.children.remove(&id) {
            Some(Child::Process { child, words, answers }) => {
                drop(words);
                let number = Pid::from_raw(child.id().cast_signed()).ok_or("no number")?;
                let ended = waitid(WaitId::Pid(number), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
                self.children.insert(id, Child::Process { child, words: None, answers });
                good(ended).map(ok)
            }
            Some(Child::Thread { number, words, handle, .. }) => {
                drop(words);
                let _ = handle.join();
                // A thread that was joined may still be on its last steps.
                let place = format!("/proc/self/task/{number}");
                while Path::new(&place).exists() {
                    std::thread::yield_now();
                }
                Ok(ok(()))
            }
            None => Ok("no such task".to_owned()),
        }
    }

    fn reap(&mut self, id: u32) -> Answer {
        match self.children.remove(&id) {
            Some(Child::Process { mut child, words: None, .. }) => {
                fine(child.wait()).map(|status| format!("ok {}", status.code().unwrap_or(-1)))
            }
            Some(other) => {
                self.children.insert(id, other);
                Ok("not ended".to_owned())
            }
            None => Ok("no such task".to_owned()),
        }
    }

    /// Lets go of every file and ends every child.
    pub fn end_all(&mut self) {
        self.files.clear();
        let children: Vec<u32> = self.children.keys().copied().collect();
        for id in children {
            let _ = self.stop(id);
            let _ = self.reap(id);
        }
    }
}

fn at_open(errno: String) -> String {
    format!("open {errno}")
}
