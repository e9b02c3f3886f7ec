//! poweroff and reboot: the end of the machine.

use clap::Parser;
use rustix::system::{self, RebootCommand};

use super::{Failure, Streams};
use crate::messages::errno_text;

/// Writes everything out and switches the machine off.
#[derive(Parser)]
#[command(name = "poweroff")]
pub struct PowerOff {}

/// Writes everything out and starts the machine anew.
#[derive(Parser)]
#[command(name = "reboot")]
pub struct Reboot {}

pub fn power_off(arguments: &[String], _streams: &mut Streams<'_>) -> Result<u8, Failure> {
    PowerOff::try_parse_from(arguments)?;
    end(RebootCommand::PowerOff)
}

pub fn reboot(arguments: &[String], _streams: &mut Streams<'_>) -> Result<u8, Failure> {
    Reboot::try_parse_from(arguments)?;
    end(RebootCommand::Restart)
}

fn end(command: RebootCommand) -> Result<u8, Failure> {
    rustix::fs::sync();
    system::reboot(command).map_err(|errno| errno_text(&errno.into()))?;
    Ok(0)
}
