//! Why a guest cannot be run, or was stopped.

use wasmi::TrapCode;

/// Why a guest cannot be run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error("guest {guest}: not a module that can be run: {why}; the image is damaged or needs a later igx")]
    Module { guest: String, why: String },
    #[error(
        "guest {guest}: wants {import}, which there is not in version 1 of the guest API; it needs a later igx"
    )]
    Import { guest: String, import: String },
    #[error("guest {guest}: written for version {found} of the guest API; this igx has version 1")]
    Version { guest: String, found: u64 },
    #[error("guest {guest}: exports no function {function} of the type that the guest API says")]
    Export { guest: String, function: &'static str },
    #[error("guest {guest}: {function} failed; what it logged tells why (run with --verbose)")]
    Failed { guest: String, function: &'static str },
    #[error("guest {guest} was stopped in {function}: {why}")]
    Stopped { guest: String, function: &'static str, why: Stop },
}

/// What a guest did to be stopped.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)] // the messages say what each is
pub enum Stop {
    #[error("it ran too long")]
    TooLong,
    #[error("it calls itself too deeply")]
    TooDeep,
    #[error("it gave up (unreachable instruction); what it printed tells why (run with --verbose)")]
    Unreachable,
    #[error("it reached beyond its memory")]
    OutOfBounds,
    #[error("it ended itself with code {0}")]
    Exit(i32),
    #[error("{0}")]
    Other(String),
}

impl From<&wasmi::Error> for Stop {
    fn from(error: &wasmi::Error) -> Self {
        if let Some(code) = error.i32_exit_status() {
            return Self::Exit(code);
        }
        match error.as_trap_code() {
            Some(TrapCode::OutOfFuel) => Self::TooLong,
            Some(TrapCode::StackOverflow) => Self::TooDeep,
            Some(TrapCode::UnreachableCodeReached) => Self::Unreachable,
            Some(TrapCode::MemoryOutOfBounds | TrapCode::TableOutOfBounds) => Self::OutOfBounds,
            _ => Self::Other(error.to_string()),
        }
    }
}
