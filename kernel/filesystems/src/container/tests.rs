//! Containers as files: what a mount shows, and what reading and writing it does.

use super::types;
use alloc::{boxed::Box, string::String, sync::Arc};
use base::{Credentials, Errno, Gid, Pid, Uid};
use container::{
    AnySubsystem, ControlFile, Framework, Gate, Member, Membership, ReleaseWorker, Subsystem, TaskTable, subsystem,
};
use std::{vec, vec::Vec};
use vfs::{
    Caller, FileEvents, FileKind, FileSystem, FileSystemType, FsContext, Inode, MetadataChange, MountFlags,
    MountRequest, Namespace, NewNode, NodeKind, OpenFlags, OpenRequest, Permissions, PollEvents, PollTable, Registry,
    RenameFlags,
};

struct Nothing;

/// A task that does nothing.
struct Idle {
    membership: Membership,
    gate: Gate,
    tid: Pid,
}

impl Idle {
    fn member(tid: i32) -> Arc<dyn Member> {
        Arc::new(Self { membership: Membership::new(), gate: Gate::new(), tid: Pid::new(tid) })
    }
}

impl Member for Idle {
    fn membership(&self) -> &Membership {
        &self.membership
    }
    fn tid(&self) -> Pid {
        self.tid
    }
    fn process_id(&self) -> Pid {
        self.tid
    }
    fn is_kernel_thread(&self) -> bool {
        false
    }
    fn credentials(&self) -> Arc<Credentials> {
        Arc::new(Credentials::root())
    }
    fn threads(&self) -> Vec<Arc<dyn Member>> {
        Vec::new()
    }
    fn kill(&self) {}
    fn gate(&self) -> &Gate {
        &self.gate
    }
    fn as_any(&self) -> &dyn core::any::Any {
        self
    }
}

/// The container that a control file belongs to.
fn framework_container(file: &dyn Inode) -> Arc<container::Container> {
    let any: &dyn core::any::Any = file;
    any.downcast_ref::<super::control::Control>().unwrap().container().clone()
}

impl TaskTable for Nothing {
    fn find(&self, _tid: Pid) -> Option<Arc<dyn Member>> {
        None
    }
}

impl ReleaseWorker for Nothing {
    fn wake(&self) {}
}

/// A subsystem with two files.
struct Colour;

impl Subsystem for Colour {
    const NAME: &'static str = "colour";
    const INDEX: usize = 3;
    const FILES: &'static [ControlFile<Self>] = &[
        ControlFile::read("shade", |_, out| out.write_str("grey\n")),
        ControlFile::write("wipe", |_, _| Ok(())).not_on_root(),
    ];
    fn create(_parent: &Self) -> Result<Self, Errno> {
        Ok(Self)
    }
}

fn framework() -> Arc<Framework> {
    let all: Vec<AnySubsystem> = vec![subsystem(Colour)];
    Framework::new(all, "", Box::new(Nothing), Box::new(Nothing))
}

fn mount(framework: &Arc<Framework>, kind: &str, data: &str) -> Result<Arc<dyn FileSystem>, Errno> {
    mount_by(&types(framework), kind, data)
}

fn mount_by(types: &[Arc<dyn FileSystemType>], kind: &str, data: &str) -> Result<Arc<dyn FileSystem>, Errno> {
    let found = types.iter().find(|found| found.name() == kind).unwrap();
    let credentials = &Credentials::root();
    found.mount(&MountRequest { source: b"none", data: data.as_bytes(), flags: MountFlags::empty(), credentials })
}

fn directory<'a>() -> NewNode<'a> {
    let permissions = Permissions::new(0o750);
    NewNode { kind: NodeKind::Directory, permissions, uid: Uid::new(5), gid: Gid::new(6) }
}

/// The entries, `piece` at a time, as getdents reads them.
fn names(inode: &dyn Inode, piece: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut from = 0;
    loop {
        let mut left = piece;
        let (before, start) = (names.len(), from);
        let each = &mut |entry: &vfs::DirectoryEntry<'_>| {
            if left == 0 {
                return false;
            }
            left -= 1;
            from = entry.next;
            names.push(String::from_utf8_lossy(entry.name).into_owned());
            true
        };
        inode.read_directory(start, each).unwrap();
        if names.len() == before {
            return names;
        }
    }
}

#[test]
fn a_directory_lists_files_in_order_of_creation_then_children_in_order_of_mkdir() {
    let fs = mount(&framework(), "container", "colour").unwrap();
    let root = fs.root();
    root.create(b"z", &directory()).unwrap();
    root.create(b"a", &directory()).unwrap();
    let generic = "notify_on_release tasks procs cgroup.procs release_agent events auto_remove";
    let shown = |generic: &str, rest: &str| {
        let all = [". ..", generic, rest].join(" ");
        all.split_ascii_whitespace().map(String::from).collect::<Vec<_>>()
    };
    for piece in [1, 3, 100] {
        assert_eq!(names(&*root, piece), shown(generic, "colour.shade z a"));
    }
    let child = root.lookup(b"z").unwrap();
    let generic = "notify_on_release tasks procs cgroup.procs events kill auto_remove";
    assert_eq!(names(&*child, 2), shown(generic, "colour.shade colour.wipe"));
    drop((root, child, fs));

    let fs = mount(&self::framework(), "cgroup", "colour").unwrap();
    let generic = "cgroup.procs cgroup.clone_children cgroup.sane_behavior tasks notify_on_release release_agent \
                   cgroup.events cgroup.auto_remove";
    assert_eq!(names(&*fs.root(), 4), shown(generic, "colour.shade"));
    let child = fs.root().create(b"z", &directory()).unwrap();
    let generic = "cgroup.procs cgroup.clone_children tasks notify_on_release cgroup.events cgroup.kill \
                   cgroup.auto_remove";
    assert_eq!(names(&*child, 4), shown(generic, "colour.shade colour.wipe"));
}

#[test]
fn events_are_news_until_they_are_read_from_the_start() {
    let framework = framework();
    let fs = mount(&framework, "container", "colour").unwrap();
    let child = fs.root().create(b"c", &directory()).unwrap();
    let request = OpenRequest { flags: OpenFlags::empty(), credentials: &Credentials::root() };
    let events = child.lookup(b"events").unwrap().open(&request).unwrap();
    let is_news = || events.poll(&mut PollTable::look()).contains(PollEvents::PRIORITY | PollEvents::ERROR);
    let read = |from: u64| {
        let mut buffer = [0; 64];
        events.read(&mut buffer, &mut { from }, OpenFlags::empty()).map(|count| buffer[..count].to_vec())
    };
    assert!(is_news(), "nobody has read it");
    assert_eq!(read(0), Ok(b"populated 0\nfrozen 0\n".to_vec()));
    assert!(!is_news());

    let task = Idle::member(1);
    framework.can_start().unwrap().admit(&task);
    let tasks = child.lookup(b"tasks").unwrap();
    let container = framework_container(&*tasks);
    let (running, root) = (|| Some(task.clone()), Credentials::root());
    let writer = container::Writer::new(&running, &root);
    let file = container.file(b"tasks").unwrap();
    framework.write_file(&container, file, b"0", &writer).unwrap();
    assert!(is_news());
    assert_eq!(read(10), Ok(b"0\nfrozen 0\n".to_vec()), "the old text goes on");
    assert!(is_news());
    assert_eq!(read(0), Ok(b"populated 1\nfrozen 0\n".to_vec()));
    assert!(!is_news());
    assert!(events.can_poll());
}

#[test]
fn a_file_without_notices_is_news_until_it_is_read_and_after_the_end() {
    let fs = mount(&framework(), "cgroup", "colour").unwrap();
    let child = fs.root().create(b"c", &directory()).unwrap();
    let request = OpenRequest { flags: OpenFlags::empty(), credentials: &Credentials::root() };
    let file = child.lookup(b"colour.shade").unwrap().open(&request).unwrap();
    let news = PollEvents::PRIORITY | PollEvents::ERROR;
    let polled = || file.poll(&mut PollTable::look());
    assert_eq!(polled(), PollEvents::ALWAYS | news);
    assert_eq!(file.read(&mut [0; 8], &mut 0, OpenFlags::empty()), Ok(5));
    assert_eq!(polled(), PollEvents::ALWAYS);
    let target = child.lookup(b"tasks").unwrap();
    assert_eq!(child.link(b"x", &target), Err(Errno::EPERM));
    fs.root().remove_directory(b"c", &child).unwrap();
    assert_eq!(polled(), PollEvents::ALWAYS | news);
    assert_eq!(child.link(b"x", &target), Err(Errno::ENOENT));
}

#[test]
fn inotify_hears_of_events_and_of_the_end() {
    let framework = framework();
    let fs = mount(&framework, "container", "colour,auto_remove").unwrap();
    let context = FsContext::new(Namespace::new(Arc::new(Registry::new()), fs.clone()));
    let root = Arc::new(Credentials::root());
    let caller = Caller { context: &context, credentials: &root };
    fs.root().create(b"c", &directory()).unwrap();
    let heard = vfs::inotify(OpenFlags::NONBLOCK, &root).unwrap();
    for path in ["/", "/c", "/c/events"] {
        let location = caller.resolve(vfs::Start::WorkingDirectory, path.as_bytes(), vfs::Follow::Yes).unwrap();
        let mask = FileEvents::MODIFY | FileEvents::DELETE | FileEvents::DELETE_SELF;
        vfs::inotify_add_watch(&heard, &location, mask, &root).unwrap();
    }
    let told = || {
        let mut buffer = [0; 1024];
        let length = heard.read(&mut buffer).unwrap_or(0);
        let mut found = Vec::new();
        let mut at = 0;
        while at < length {
            let word = |index: usize| u32::from_ne_bytes(buffer[at + 4 * index..][..4].try_into().unwrap());
            found.push((word(0), word(1)));
            at += 16 + word(3) as usize;
        }
        found
    };
    let child = fs.root().lookup(b"c").unwrap();
    let container = framework_container(&*child.lookup(b"events").unwrap());
    let task = Idle::member(1);
    framework.can_start().unwrap().admit(&task);
    let (running, root) = (|| Some(task.clone()), Credentials::root());
    let writer = container::Writer::new(&running, &root);
    let file = container.file(b"tasks").unwrap();
    framework.write_file(&container, file, b"0", &writer).unwrap();
    assert_eq!(told(), [(2, 2), (3, 2)]);
    framework.exit(&*task);
    assert!(framework.next_release().is_none(), "nothing but the removal");
    super::removed(&container);
    let (ignored, gone, is_directory) = (0x8000, 0x400, 0x4000_0000);
    assert_eq!(told(), [(3, gone), (3, ignored), (2, gone), (2, ignored), (1, 0x200 | is_directory)]);
}

#[test]
fn a_new_container_has_the_mode_and_owner_of_its_maker_and_files_by_what_they_can() {
    let fs = mount(&framework(), "cgroup", "colour").unwrap();
    let child = fs.root().create(b"c", &directory()).unwrap();
    let metadata = child.metadata();
    assert_eq!((metadata.permissions.bits(), metadata.uid, metadata.gid), (0o750, Uid::new(5), Gid::new(6)));
    for (name, mode) in [(&b"tasks"[..], 0o644), (b"colour.shade", 0o444), (b"colour.wipe", 0o200)] {
        let file = child.lookup(name).unwrap().metadata();
        assert_eq!((file.permissions.bits(), file.uid, file.size), (mode, Uid::new(5), 0));
    }
    let change = MetadataChange { permissions: Some(Permissions::new(0o600)), ..MetadataChange::default() };
    child.lookup(b"tasks").unwrap().change_metadata(&change).unwrap();
    assert_eq!(child.lookup(b"tasks").unwrap().metadata().permissions.bits(), 0o600);
}

#[test]
fn what_a_directory_refuses() {
    let fs = mount(&framework(), "cgroup", "colour").unwrap();
    let root = fs.root();
    let child = root.create(b"c", &directory()).unwrap();
    let regular = NewNode { kind: NodeKind::Regular, ..directory() };
    assert_eq!(root.create(b"new", &regular).err(), Some(Errno::EACCES));
    assert_eq!(root.create(b"f", &NewNode { kind: NodeKind::Fifo, ..directory() }).err(), Some(Errno::EPERM));
    assert_eq!(root.create(b"tasks", &directory()).err(), Some(Errno::EEXIST));
    assert_eq!(root.create(b"a\nb", &directory()).err(), Some(Errno::EINVAL));
    assert_eq!(root.unlink(b"tasks", &root.lookup(b"tasks").unwrap()), Err(Errno::EPERM));
    assert_eq!(root.lookup(b"none").err(), Some(Errno::ENOENT));
    child.create(b"d", &directory()).unwrap();
    assert_eq!(root.remove_directory(b"c", &child), Err(Errno::EBUSY));
}

#[test]
fn a_removed_container_answers_to_nothing() {
    let fs = mount(&framework(), "cgroup", "colour").unwrap();
    let root = fs.root();
    let child = root.create(b"c", &directory()).unwrap();
    let request = OpenRequest { flags: OpenFlags::empty(), credentials: &Credentials::root() };
    let shade = child.lookup(b"colour.shade").unwrap().open(&request).unwrap();
    let read = || {
        let mut buffer = [0; 16];
        shade.read(&mut buffer, &mut 0, OpenFlags::empty()).map(|count| buffer[..count].to_vec())
    };
    assert_eq!(read(), Ok(b"grey\n".to_vec()));
    root.remove_directory(b"c", &child).unwrap();
    assert_eq!(read(), Err(Errno::ENODEV));
    assert_eq!(child.lookup(b"tasks").err(), Some(Errno::ENOENT));
    for kind in [NodeKind::Directory, NodeKind::Regular, NodeKind::Fifo] {
        assert_eq!(child.create(b"d", &NewNode { kind, ..directory() }).err(), Some(Errno::ENOENT));
    }
    assert_eq!(child.read_directory(0, &mut |_| true), Err(Errno::ENOENT));
    assert!(child.parent().is_none());
}

/// A delegate reaching beyond his subtree. Fails on a version in which a file takes its owner from the parent directory, in
/// which a container's files can be written by everybody. `probe born` asks the same of clone.
#[test]
fn a_delegate_rules_what_was_given_and_nothing_else() {
    let fs = mount(&framework(), "cgroup", "colour").unwrap();
    let context = FsContext::new(Namespace::new(Arc::new(Registry::new()), fs.clone()));
    let (root, none) = (Arc::new(Credentials::root()), base::Capabilities::empty());
    let (uid, gid) = (Uid::new(7), Gid::new(7));
    let user = Credentials { uid, euid: uid, fsuid: uid, gid, egid: gid, fsgid: gid, ..Credentials::root() };
    let user = Arc::new(Credentials { effective: none, permitted: none, ..user });
    let [root, user] = [&root, &user].map(|credentials| Caller { context: &context, credentials });
    let here = vfs::Start::WorkingDirectory;
    let mkdir =
        |who: &Caller<'_>, path: &str| who.make(here, path.as_bytes(), NodeKind::Directory, Permissions::new(0o755));
    let open = |who: &Caller<'_>, path: &str| {
        let opened = who.open(here, path.as_bytes(), OpenFlags::WRITE_ONLY, Permissions::new(0));
        opened.map(drop)
    };
    mkdir(&root, "/given").unwrap();
    mkdir(&root, "/other").unwrap();
    for path in ["/given", "/given/tasks", "/given/cgroup.procs"] {
        root.change_owner(here, path.as_bytes(), Some(uid), Some(gid), vfs::Follow::No).unwrap();
    }
    mkdir(&root, "/given/limits").unwrap();
    // What was given, and what is made below it.
    mkdir(&user, "/given/own").unwrap();
    for path in ["/given/tasks", "/given/cgroup.procs", "/given/own/tasks", "/given/own/colour.wipe"] {
        assert_eq!(open(&user, path), Ok(()), "{path}");
    }
    user.remove_directory(here, b"/given/own").unwrap();
    // Everything else: the limits of what was given, what is beside it, above it, and what others made below it.
    let files = ["/given/colour.wipe", "/given/notify_on_release", "/given/cgroup.kill", "/given/limits/tasks"];
    let elsewhere = ["/tasks", "/cgroup.procs", "/release_agent", "/other/tasks", "/other/cgroup.procs"];
    for path in files.iter().chain(&elsewhere) {
        assert_eq!(open(&user, path), Err(Errno::EACCES), "{path}");
        let mode = user.change_mode(here, path.as_bytes(), Permissions::new(0o666), vfs::Follow::No);
        assert_eq!(mode, Err(Errno::EPERM), "{path}");
    }
    for path in ["/new", "/other/new", "/given/limits/new"] {
        assert_eq!(mkdir(&user, path), Err(Errno::EACCES), "{path}");
    }
    assert_eq!(user.remove_directory(here, b"/given"), Err(Errno::EACCES));
    assert_eq!(user.rename(here, b"/given", here, b"/mine", RenameFlags::empty()), Err(Errno::EACCES));
    assert_eq!(user.rename(here, b"/given/limits", here, b"/new", RenameFlags::empty()), Err(Errno::EACCES));
}

#[test]
fn a_rename_stays_within_the_parent() {
    let fs = mount(&framework(), "cgroup", "colour").unwrap();
    let root = fs.root();
    let child = root.create(b"c", &directory()).unwrap();
    let other = root.create(b"d", &directory()).unwrap();
    let rename = |to: &Arc<dyn Inode>, name: &[u8], flags| root.rename(b"c", &child, to, name, flags);
    assert_eq!(rename(&other, b"c", RenameFlags::empty()), Err(Errno::EIO));
    assert_eq!(rename(&root, b"d", RenameFlags::empty()), Err(Errno::EEXIST));
    assert_eq!(rename(&root, b"e", RenameFlags::NO_REPLACE), Err(Errno::EINVAL));
    assert_eq!(rename(&root, b"e", RenameFlags::empty()), Ok(()));
    assert_eq!(root.name_of(&*child), Ok(b"e".to_vec()));
    assert_eq!(root.lookup(b"e").unwrap().number(), child.number());
}

#[test]
fn two_mounts_of_one_hierarchy_show_the_same_files() {
    let types = types(&framework());
    let one = mount_by(&types, "cgroup", "colour").unwrap();
    let two = mount_by(&types, "container", "colour").unwrap();
    one.root().create(b"c", &directory()).unwrap();
    assert_eq!(two.root().lookup(b"c").unwrap().number(), one.root().lookup(b"c").unwrap().number());
    assert_eq!((one.device(), one.kind()), (two.device(), two.kind()));
    let mut options = String::new();
    two.show_options(&mut options).unwrap();
    assert_eq!(options, ",colour");
}

#[test]
fn the_last_umount_dissolves_an_empty_hierarchy_and_keeps_one_with_children() {
    let framework = framework();
    drop(mount(&framework, "cgroup", "colour").unwrap());
    let fs = mount(&framework, "container", "colour").unwrap();
    assert_eq!(fs.kind(), "container");
    fs.root().create(b"c", &directory()).unwrap();
    drop(fs);
    let again = mount(&framework, "cgroup", "colour").unwrap();
    assert_eq!(again.root().lookup(b"c").unwrap().kind(), FileKind::Directory);
}

#[test]
fn the_type_cpuset_takes_no_options() {
    let framework = framework();
    assert_eq!(mount(&framework, "cpuset", "noprefix").err(), Some(Errno::EINVAL));
    assert_eq!(mount(&framework, "cgroup", "nonsense").err(), Some(Errno::EINVAL));
}

/// Fails on a version that reads the attributes, and writes what comes of them in a second step.
#[test]
fn of_two_changes_of_attributes_at_once_neither_is_lost() {
    let framework = framework();
    let fs = mount(&framework, "cgroup", "colour").unwrap();
    let a = fs.root().create(b"a", &directory()).unwrap();
    for inode in [a.clone(), a.lookup(b"tasks").unwrap()] {
        let change = |change: MetadataChange| inode.change_metadata(&change).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for mode in (0..0o777).cycle().take(5000) {
                    change(MetadataChange { permissions: Some(Permissions::new(mode)), ..Default::default() });
                    assert_eq!(inode.metadata().permissions, Permissions::new(mode));
                }
            });
            for uid in (0..5000).map(Uid::new) {
                change(MetadataChange { uid: Some(uid), ..Default::default() });
                assert_eq!(inode.metadata().uid, uid);
            }
        });
    }
}

#[test]
fn who_reads_on_in_a_file_of_a_removed_container_is_told() {
    let framework = framework();
    let fs = mount(&framework, "cgroup", "colour").unwrap();
    let a = fs.root().create(b"a", &directory()).unwrap();
    let file = a.lookup(b"colour.shade").unwrap();
    let request = OpenRequest { flags: OpenFlags::empty(), credentials: &Credentials::root() };
    let open = file.open(&request).unwrap();
    let (mut position, mut buffer) = (0, [0; 2]);
    let mut read = || open.read(&mut buffer, &mut position, OpenFlags::empty());
    assert_eq!((read(), read()), (Ok(2), Ok(2)));
    fs.root().remove_directory(b"a", &a).unwrap();
    assert_eq!((read(), read()), (Err(Errno::ENODEV), Err(Errno::ENODEV)));
}
