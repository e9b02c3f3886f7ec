//! Waiting for a pipe that this process itself has to fill.

use std::fs::File;
use std::os::fd::OwnedFd;

use brush_core::CommandArg;
use brush_core::openfiles::{OpenFile, OpenFiles};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::interrupt;

/// Before `read`, which blocks the only thread: lets a process substitution, which runs beside it in this process and
/// writes into its input, go on until there is something to read, nobody writes any more, or there is an interrupt.
pub async fn await_pipe(context: &Context<'_>, arguments: &[CommandArg]) {
    let Some(OpenFile::PipeReader(pipe)) = context.try_fd(descriptor(arguments)) else { return };
    // Not made non-blocking: it is only watched, and `read` still wants to block.
    let pipe = Receiver::from_file_unchecked(File::from(OwnedFd::from(pipe)));
    let (Ok(pipe), Ok(mut interrupts)) = (pipe, signal(SignalKind::interrupt())) else { return };
    if interrupt::happened() {
        return;
    }
    tokio::select! {
        _ = pipe.readable() => {}
        _ = interrupts.recv() => {}
    }
}

/// What `read` reads: the number behind `-u`, or standard input.
fn descriptor(arguments: &[CommandArg]) -> i32 {
    let mut words = arguments.iter().map(ToString::to_string);
    while let Some(word) = words.next() {
        if let Some(number) = word.strip_prefix("-u") {
            let number = if number.is_empty() { words.next() } else { Some(number.to_owned()) };
            return number.and_then(|number| number.parse().ok()).unwrap_or(OpenFiles::STDIN_FD);
        }
    }
    OpenFiles::STDIN_FD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_is_what_u_names() {
        let of =
            |line: &str| descriptor(&line.split(' ').map(|word| CommandArg::String(word.into())).collect::<Vec<_>>());
        assert_eq!([of("read a b"), of("read -u 7 a"), of("read -r -u5 a")], [0, 7, 5]);
    }
}
