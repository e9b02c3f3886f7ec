//! The root file system and pid 1.

use crate::{command_line::CommandLine, releases, wiring::CONSOLE};
use alloc::{borrow::ToOwned, boxed::Box, string::String, sync::Arc, vec::Vec};
use base::{Credentials, Errno};
use filesystems::terminal::Console;
use machine::{boot, log};
use process::{
    Population,
    spawn::{self, Program},
};
use vfs::{
    Caller, FileTable, FsContext, MountFlags, Namespace, NodeKind, OpenFlags, Permissions, Registry, Start, SystemFlags,
};

/// What is tried, in this order, when the command line names no program and there is no `/init`.
const PROGRAMS: &[&str] = &["/init", "/sbin/init", "/bin/init", "/bin/sh"];

/// Makes the root file system from the initramfs and starts pid 1 in it; or the in-kernel tests.
pub fn start(population: &'static Population) {
    #[cfg(feature = "test")]
    if kernel_tests::wanted() {
        match spawn::kernel_thread(population, "tests", kernel_tests::run) {
            Ok(_) => return,
            Err(errno) => panic!("the tests can't be started: {errno}"),
        }
    }
    if let Err(errno) = try_start(population) {
        panic!("no first program could be started: {errno}");
    }
}

fn try_start(population: &'static Population) -> Result<(), Errno> {
    let console: &'static Arc<Console> = Box::leak(Box::new(Arc::new(Console::new())));
    CONSOLE.install(console);
    let mut registry = Registry::new();
    filesystems::add_devices(&mut registry, console, boot::info().has_fw_cfg)?;
    registry.add_type(filesystems::proc::file_system_type());
    registry.add_type(filesystems::sys::file_system_type());
    filesystems::container::types(population.framework()).into_iter().for_each(|kind| registry.add_type(kind));
    let context = FsContext::new(Namespace::new(Arc::new(registry), filesystems::tmpfs::root()?));
    unpack(&context);
    let credentials = Arc::new(Credentials::root());
    let caller = Caller { context: &context, credentials: &credentials };
    let files = FileTable::new();
    open_console(&caller, &files);
    let line = CommandLine::parse(boot::info().command_line);
    let path = choose(&caller, &line);
    log!("init: starting {path} as pid 1");
    let bytes = |text: &str| text.as_bytes().to_vec();
    let mut arguments: Vec<Vec<u8>> = [bytes(&path)].into();
    arguments.extend(line.arguments.iter().map(|word| bytes(word)));
    let mut environment: Vec<Vec<u8>> = [bytes("HOME=/"), bytes("TERM=linux")].into();
    environment.extend(line.environment.iter().map(|word| bytes(word)));
    let program = Program {
        path: bytes(&path),
        arguments,
        environment,
        context: context.clone(),
        files,
        started: None,
        core_limit: spawn::NO_CORE,
    };
    spawn::init(population, program)?;
    spawn::kernel_thread(population, "console", || console.carry())?;
    spawn::kernel_thread(population, "releases", move || releases::serve(population, &context))?;
    Ok(())
}

fn unpack(context: &FsContext) {
    let Some(archive) = boot::info().initramfs else {
        log!("initramfs: none was handed over");
        return;
    };
    match vfs::initramfs::unpack(archive, context) {
        Ok(count) => log!("initramfs: {count} entries from {} KiB", archive.len() >> 10),
        Err(errno) => log!("initramfs: broken ({errno}); what came before is there"),
    }
}

/// Opens `/dev/console` on descriptors 0 to 2, as Linux does; if that can't be they stay closed. As in Linux with
/// `devtmpfs.mount`, `/dev` is there before init.
fn open_console(caller: &Caller<'_>, files: &Arc<FileTable>) {
    // What is there already stays.
    let _ = caller.make(Start::WorkingDirectory, b"/dev", NodeKind::Directory, Permissions::new(0o755));
    let flags = (MountFlags::NO_SET_ID | MountFlags::RELATIVE_TIMES, SystemFlags::empty());
    if let Err(errno) = caller.mount(b"devtmpfs", b"/dev", Some(b"devtmpfs"), flags, b"") {
        log!("init: devtmpfs can't be mounted on /dev: {errno}");
    }
    match caller.open(Start::WorkingDirectory, b"/dev/console", OpenFlags::READ_WRITE, Permissions::new(0)) {
        Ok(console) => {
            for _ in 0..3 {
                // The table is new: there is room.
                let _ = files.insert(console.clone(), false, 3);
            }
        }
        Err(errno) => log!("init: the console can't be opened: {errno}"),
    }
}

/// The program named on the command line, or the first of the usual ones that is there.
fn choose(caller: &Caller<'_>, line: &CommandLine) -> String {
    let exists = |path: &&&str| caller.access(Start::WorkingDirectory, path.as_bytes(), 1, vfs::Follow::Yes).is_ok();
    match &line.init {
        Some(path) => path.clone(),
        None => (*PROGRAMS.iter().find(exists).unwrap_or(&PROGRAMS[0])).to_owned(),
    }
}
