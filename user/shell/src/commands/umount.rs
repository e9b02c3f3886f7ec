//! umount: `umount /foo`, `umount -l /foo`.

use clap::Parser;
use rustix::mount::unmount;

use super::mount::{mounts, unmount_flags};
use super::{Failure, Line, Offers, Streams};
use crate::messages::errno_text;

/// Unmounts file systems.
#[derive(Parser)]
#[command(name = "umount")]
pub struct Options {
    /// At once for everybody else, for good when its last user is gone
    #[arg(short = 'l')]
    lazy: bool,
    /// By force
    #[arg(short = 'f')]
    force: bool,
    /// Where they are mounted
    #[arg(required = true)]
    directories: Vec<String>,
}

/// What can follow `umount`: where something is mounted.
pub fn offers(line: &Line<'_>) -> Offers {
    Offers::only(mounts().unwrap_or_default().into_iter().map(|entry| entry.directory), line)
}

pub fn run(arguments: &[String], streams: &mut Streams<'_>) -> Result<u8, Failure> {
    let options = Options::try_parse_from(arguments)?;
    let mut status = 0;
    for directory in &options.directories {
        if let Err(errno) = unmount(directory.as_str(), unmount_flags(options.lazy, options.force)) {
            writeln!(streams.err, "umount: can't unmount {directory}: {}", errno_text(&errno.into()))?;
            status = 1;
        }
    }
    Ok(status)
}
