//! The links of a task to files: program, directories, descriptors.

use super::written;
use super::{check_inspection, locks, task::TaskFiles};
use crate::table::{Child, Children, Directory, FreeLink, Line, Place, Subject, free_file};
use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use base::{Errno, Gid, Uid};
use core::fmt::Write;
use process::Task;
use vfs::{FileKind, Inode, Link, Location, OpenFile, OpenFlags, lock};

fn inspected(files: &TaskFiles) -> Result<Arc<Task>, Errno> {
    let task = files.task()?;
    check_inspection(&task)?;
    Ok(task)
}

fn program_file(files: &TaskFiles) -> Result<Arc<OpenFile>, Errno> {
    Ok(inspected(files)?.process().program().ok_or(Errno::ENOENT)?.file.clone())
}

fn path_of(file: &OpenFile) -> Vec<u8> {
    let context = process::current().and_then(|task| task.context().ok());
    file.path(context.as_deref())
}

fn path_of_directory(location: &Location) -> Result<Vec<u8>, Errno> {
    super::own_context()?.path_of(location)
}

/// `exe`.
pub(super) fn program(files: &TaskFiles) -> Result<Link, Errno> {
    program_file(files).map(Link::File)
}

/// The text of `exe`.
pub(super) fn program_text(files: &TaskFiles) -> Result<Vec<u8>, Errno> {
    program_file(files).map(|file| path_of(&file))
}

/// `cwd`.
pub(super) fn working_directory(files: &TaskFiles) -> Result<Link, Errno> {
    Ok(Link::Jump(inspected(files)?.context()?.working_directory()))
}

/// The text of `cwd`.
pub(super) fn working_directory_text(files: &TaskFiles) -> Result<Vec<u8>, Errno> {
    path_of_directory(&inspected(files)?.context()?.working_directory())
}

/// `root`.
pub(super) fn root(files: &TaskFiles) -> Result<Link, Errno> {
    Ok(Link::Jump(inspected(files)?.context()?.root()))
}

/// The text of `root`.
pub(super) fn root_text(files: &TaskFiles) -> Result<Vec<u8>, Errno> {
    path_of_directory(&inspected(files)?.context()?.root())
}

/// `fd`: the descriptors.
pub(super) static DESCRIPTORS: Directory<TaskFiles> = Directory { id: 1, lines: &[], children: Some(&Descriptors) };

struct Descriptors;

/// One descriptor of a task.
#[derive(Clone, Copy)]
struct DescriptorOf {
    files: TaskFiles,
    number: i32,
}

impl DescriptorOf {
    fn file(&self) -> Result<Arc<OpenFile>, Errno> {
        inspected(&self.files)?.files()?.get(self.number).map_err(|_| Errno::ENOENT)
    }
}

impl Subject for DescriptorOf {
    fn base(&self) -> u64 {
        self.files.descriptor_inode(self.number as u32)
    }

    fn owner(&self) -> (Uid, Gid) {
        self.files.owner()
    }

    fn exists(&self) -> bool {
        self.file().is_ok()
    }
}

impl Children<TaskFiles> for Descriptors {
    fn next(&self, files: &TaskFiles, from: u32) -> Option<Child> {
        let table = inspected(files).ok()?.files().ok()?;
        let found = table.descriptors().into_iter().map(|descriptor| descriptor.raw()).find(|&n| n as u32 >= from)?;
        let key = found as u32;
        Some(Child { key, name: found.to_string(), inode: files.descriptor_inode(key), kind: FileKind::Symlink })
    }

    fn find(&self, files: &TaskFiles, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let number: i32 = name.parse().map_err(|_| Errno::ENOENT)?;
        let subject = DescriptorOf { files: *files, number };
        let flags = subject.file()?.flags();
        let mode = 0o100 | if flags.reads() { 0o400 } else { 0 } | if flags.writes() { 0o200 } else { 0 };
        Ok(Arc::new(FreeLink {
            place: holder.clone(),
            subject,
            number: subject.base(),
            mode,
            follow: |descriptor| descriptor.file().map(Link::File),
            text: |descriptor| descriptor.file().map(|file| path_of(&file)),
        }))
    }
}

/// `fdinfo`: a text about each descriptor.
pub(super) static DESCRIPTOR_TEXTS: Directory<TaskFiles> =
    Directory { id: 3, lines: &[], children: Some(&DescriptorTexts) };

struct DescriptorTexts;

/// All texts are alike; the name is that of the descriptor.
static DESCRIPTOR_TEXT: Line<DescriptorOf> = Line::text("", descriptor_text);

impl Children<TaskFiles> for DescriptorTexts {
    fn next(&self, files: &TaskFiles, from: u32) -> Option<Child> {
        let child = Descriptors.next(files, from)?;
        Some(Child { inode: files.descriptor_text_inode(child.key), kind: FileKind::Regular, ..child })
    }

    fn find(&self, files: &TaskFiles, name: &str, holder: &Place) -> Result<Arc<dyn Inode>, Errno> {
        let number: i32 = name.parse().map_err(|_| Errno::ENOENT)?;
        let subject = DescriptorOf { files: *files, number };
        subject.file()?;
        Ok(free_file(holder.clone(), subject, &DESCRIPTOR_TEXT, files.descriptor_text_inode(number as u32)))
    }
}

/// Position, flags and place of an open file, and the locks that were taken through it. 0 is the mount of what no path led to.
fn descriptor_text(descriptor: &DescriptorOf, out: &mut String) -> Result<(), Errno> {
    let file = descriptor.file()?;
    let table = inspected(&descriptor.files)?.files()?;
    let closes = table.is_close_on_exec(descriptor.number).unwrap_or(false);
    let flags = file.flags() | if closes { OpenFlags::CLOSE_ON_EXEC } else { OpenFlags::empty() };
    let mount = file.location().mount.map_or(0, |mount| mount.number());
    written(write!(
        out,
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{mount}\nino:\t{}\n",
        file.position(),
        flags.bits(),
        file.inode().number(),
    ))?;
    for (row, number) in lock::rows_of(&file, table.lock_owner())?.iter().zip(1..) {
        out.push_str("lock:\t");
        locks::write_row(out, number, row)?;
    }
    Ok(())
}
