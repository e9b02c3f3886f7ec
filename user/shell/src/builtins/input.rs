//! Reading from a pipe that this process itself has to fill: a process substitution runs beside the builtin that reads,
//! in the same thread, and comes to a stand while that blocks.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;

use brush_core::CommandArg;
use brush_core::openfiles::{OpenFile, OpenFiles};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::interrupt;

/// Before a builtin that reads: lets who writes into its pipe go on until it can do so without blocking, or there is an
/// interrupt. `read` wants a line and gets it from the pipe; `mapfile` wants all, so all is taken in before.
pub async fn prepare(name: &str, context: &mut Context<'_>, arguments: &[CommandArg]) {
    if !matches!(name, "read" | "mapfile" | "readarray") {
        return;
    }
    let number = descriptor(arguments);
    let Some(OpenFile::PipeReader(pipe)) = context.try_fd(number) else { return };
    if name == "read" || arguments.iter().any(|argument| argument.to_string().starts_with("-n")) {
        await_pipe(pipe).await;
    } else if let Some(whole) = take_in(pipe).await {
        context.params.set_fd(number, whole);
    }
}

/// Waits until there is something to read, nobody writes any more, or there is an interrupt.
async fn await_pipe(pipe: PipeReader) {
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

/// Takes in all that is written into a pipe; gives a pipe in which all of it is. `None` after an interrupt.
async fn take_in(mut pipe: PipeReader) -> Option<OpenFile> {
    let mut interrupts = signal(SignalKind::interrupt()).ok()?;
    let all = tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).map(|_| all)
    });
    if interrupt::happened() {
        return None;
    }
    let all = tokio::select! {
        all = all => all.ok()?.ok()?,
        _ = interrupts.recv() => return None,
    };
    let (reader, mut writer) = std::io::pipe().ok()?;
    // More than a pipe holds goes in as it is read. If the reader wants no more, the rest is not wanted.
    drop(tokio::task::spawn_blocking(move || drop(writer.write_all(&all))));
    Some(reader.into())
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
