//! /proc/PID/net: the local sockets, the only ones that there are.

use super::{task::TaskFiles, written};
use crate::table::{Directory, Line};
use alloc::string::String;
use base::Errno;
use core::fmt::Write;
use vfs::socket::{self, Address, SocketRow};

/// /proc/PID/net.
pub(super) static NET: Directory<TaskFiles> = Directory { id: 4, lines: &[Line::text("unix", unix)], children: None };

fn unix(_: &TaskFiles, out: &mut String) -> Result<(), Errno> {
    out.push_str("Num       RefCount Protocol Flags    Type St Inode Path\n");
    socket::each_row(&mut |row| write_row(out, row))
}

/// One row, as Linux writes it; in place of an address each socket has a number.
fn write_row(out: &mut String, row: &SocketRow) -> Result<(), Errno> {
    const ACCEPTS: u32 = 0x10000;
    // The rest of a row, and the longest name.
    out.try_reserve(512).map_err(|_| Errno::ENOMEM)?;
    let flags = if row.listens { ACCEPTS } else { 0 };
    written(write!(
        out,
        "{:016x}: {:08X} {:08X} {flags:08X} {:04X} {:02X} {:5}",
        row.number, row.references, 0, row.kind, row.state, row.inode
    ))?;
    match &row.name {
        Address::Unnamed => {}
        Address::Path(path) => written(write!(out, " {}", String::from_utf8_lossy(path)))?,
        Address::Abstract(name) => {
            written(write!(out, " @{}", String::from_utf8_lossy(name).replace('\0', "@")))?;
        }
    }
    out.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_look_as_on_linux() {
        let row = SocketRow {
            number: 0xab,
            references: 2,
            listens: true,
            kind: 1,
            state: 1,
            inode: 345,
            name: Address::Abstract(b"a\0b".to_vec()),
        };
        let mut out = String::new();
        write_row(&mut out, &row).unwrap();
        write_row(&mut out, &SocketRow { listens: false, state: 3, name: Address::Unnamed, ..row }).unwrap();
        assert_eq!(
            out,
            "00000000000000ab: 00000002 00000000 00010000 0001 01   345 @a@b\n\
             00000000000000ab: 00000002 00000000 00000000 0001 03   345\n"
        );
    }
}
