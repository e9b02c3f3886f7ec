//! The drivers of terminal device files: major 4 (`ttyS*`) and major 5 (`tty`, `console`, `ptmx`).

use super::{
    console::{Console, SERIAL_MINOR},
    devpts::PtmxNode,
    file::TtyFile,
    pseudo::{self, PseudoTerminals},
    tty::Tty,
};
use alloc::sync::Arc;
use base::Errno;
use core::any::Any;
use vfs::{DeviceDriver, DeviceNumber, FileOps, Inode, OpenFlags, OpenRequest};

/// Major number of `tty`, `console` and `ptmx`.
pub const ALTERNATIVE_MAJOR: u32 = 5;
/// Minor number of `tty`.
pub const TTY: u32 = 0;
/// Minor number of `console`.
pub const CONSOLE: u32 = 1;
/// Minor number of `ptmx`.
pub const PTMX: u32 = 2;

/// `ttyS0` and `ttyS1`.
pub struct SerialTerminals(pub Arc<Console>);

impl DeviceDriver for SerialTerminals {
    fn names(&self) -> &'static [&'static str] {
        &["ttyS"]
    }

    fn open(
        &self,
        number: DeviceNumber,
        _inode: &Arc<dyn Inode>,
        request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno> {
        let port = number.minor.checked_sub(SERIAL_MINOR).and_then(|port| u8::try_from(port).ok());
        let tty = port.and_then(|port| self.0.terminal(port)).ok_or(Errno::ENXIO)?;
        Ok(TtyFile::open(tty, request.flags)?)
    }
}

/// `tty` (the controlling terminal), `console` and `ptmx`.
pub struct AlternativeTerminals {
    /// The serial lines.
    pub console: Arc<Console>,
    /// Where `ptmx` makes new terminals.
    pub pseudo: Arc<PseudoTerminals>,
}

impl DeviceDriver for AlternativeTerminals {
    fn names(&self) -> &'static [&'static str] {
        &["/dev/tty", "/dev/console", "/dev/ptmx"]
    }

    fn open(
        &self,
        number: DeviceNumber,
        inode: &Arc<dyn Inode>,
        request: &OpenRequest<'_>,
    ) -> Result<Arc<dyn FileOps>, Errno> {
        let quiet = request.flags | OpenFlags::NO_CONTROLLING_TERMINAL;
        match number.minor {
            TTY => {
                let task = process::current().ok_or(Errno::ENXIO)?;
                let own: Arc<dyn Any + Send + Sync> = process::terminal::of(&task)?;
                let tty = own.downcast::<Tty>().map_err(|_| Errno::ENXIO)?;
                Ok(TtyFile::open(&tty, quiet)?)
            }
            // The console becomes nobody's controlling terminal by being opened.
            CONSOLE => Ok(TtyFile::open(self.console.terminal(0).ok_or(Errno::ENXIO)?, quiet)?),
            // The one inside a devpts makes terminals there.
            PTMX => {
                let inode: Arc<dyn Any + Send + Sync> = inode.clone();
                match inode.downcast::<PtmxNode>() {
                    Ok(node) => pseudo::create(&node.0, request.credentials),
                    Err(_) => self.pseudo.create(request.credentials),
                }
            }
            _ => Err(Errno::ENXIO),
        }
    }
}
