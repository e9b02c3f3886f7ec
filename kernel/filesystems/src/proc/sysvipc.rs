//! /proc/sysvipc: the System V objects, one a line; every user sees all.

use super::{System, population, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::Errno;
use core::fmt::Write;
use process::ipc::{Permission, messages::QueueStatus, semaphores::SetStatus};

/// /proc/sysvipc.
pub(super) static SYSVIPC: Directory<System> = Directory {
    id: 4,
    lines: &[Line::text("msg", messages), Line::text("sem", semaphores), Line::text("shm", segments)],
    children: None,
};

/// Owner and creator, as all three show them.
fn owners(permission: &Permission) -> [u32; 4] {
    let Permission { uid, gid, creator, .. } = permission;
    [uid.raw(), gid.raw(), creator.0.raw(), creator.1.raw()]
}

fn messages(_: &System, out: &mut String) -> Result<(), Errno> {
    out.push_str(
        "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      \
         ctime\n",
    );
    for (number, status) in population()?.messages.all() {
        let QueueStatus { permission, times, bytes, count, processes, .. } = status;
        let ([uid, gid, creator_uid, creator_gid], [sender, receiver]) = (owners(&permission), processes);
        let (key, mode, [sent, received, changed]) = (permission.key, permission.mode, times);
        written(writeln!(
            out,
            "{key:10} {number:10}  {mode:4o}  {bytes:10} {count:10} {:5} {:5} {uid:5} {gid:5} {creator_uid:5} \
             {creator_gid:5} {sent:10} {received:10} {changed:10}",
            sender.raw(),
            receiver.raw(),
        ))?;
    }
    Ok(())
}

fn semaphores(_: &System, out: &mut String) -> Result<(), Errno> {
    out.push_str("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    for (number, status) in population()?.semaphores.all() {
        let SetStatus { permission, operated, changed, count } = status;
        let [uid, gid, creator_uid, creator_gid] = owners(&permission);
        let (key, mode) = (permission.key, permission.mode);
        written(writeln!(
            out,
            "{key:10} {number:10}  {mode:4o} {count:10} {uid:5} {gid:5} {creator_uid:5} {creator_gid:5} {operated:10} \
             {changed:10}",
        ))?;
    }
    Ok(())
}

fn segments(_: &System, out: &mut String) -> Result<(), Errno> {
    out.push_str(
        "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      \
         dtime      ctime                   rss                  swap\n",
    );
    for (number, segment, resident) in population()?.shared_memory.all() {
        let [uid, gid, creator_uid, creator_gid] = owners(&segment.permission);
        let (key, mode, size) = (segment.permission.key, segment.permission.mode, segment.size);
        let ([creator, last], [attached, detached, changed]) = (segment.processes, segment.times);
        written(writeln!(
            out,
            "{key:10} {number:10}  {mode:4o} {size:21} {:5} {:5}  {:5} {uid:5} {gid:5} {creator_uid:5} {creator_gid:5} \
             {attached:10} {detached:10} {changed:10} {:21} {:21}",
            creator.raw(),
            last.raw(),
            segment.attached,
            resident * 4096,
            0,
        ))?;
    }
    Ok(())
}
