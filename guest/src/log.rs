//! Messages to the log of whoever runs the gadget.

use crate::host;
use std::fmt;

/// How grave a message is, with the numbers of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    /// Something does not work.
    Error = 0,
    /// Something may not work.
    Warn = 1,
    /// What users want to know.
    Info = 2,
    /// What helps to find a fault.
    Debug = 3,
    /// All the rest.
    Trace = 4,
}

/// Whether messages of this level are shown: ask before costly work that only serves a message.
pub fn enabled(level: Level) -> bool {
    host::should_log(level as u32)
}

/// Logs a message; the macros [`error!`](crate::error), [`warn!`](crate::warn), [`info!`](crate::info),
/// [`debug!`](crate::debug) and [`trace!`](crate::trace) are shorter. It is put together only if it is shown.
pub fn log(level: Level, message: fmt::Arguments<'_>) {
    if !enabled(level) {
        return;
    }
    match message.as_str() {
        Some(text) => host::log(level as u32, text),
        None => host::log(level as u32, &message.to_string()),
    }
}

/// Logs that something does not work; takes what `format!` takes.
#[macro_export]
macro_rules! error {
    ($($part:tt)*) => { $crate::log::log($crate::log::Level::Error, format_args!($($part)*)) };
}

/// Logs that something may not work; takes what `format!` takes.
#[macro_export]
macro_rules! warn {
    ($($part:tt)*) => { $crate::log::log($crate::log::Level::Warn, format_args!($($part)*)) };
}

/// Logs what users want to know; takes what `format!` takes.
#[macro_export]
macro_rules! info {
    ($($part:tt)*) => { $crate::log::log($crate::log::Level::Info, format_args!($($part)*)) };
}

/// Logs what helps to find a fault; takes what `format!` takes.
#[macro_export]
macro_rules! debug {
    ($($part:tt)*) => { $crate::log::log($crate::log::Level::Debug, format_args!($($part)*)) };
}

/// Logs all the rest; takes what `format!` takes.
#[macro_export]
macro_rules! trace {
    ($($part:tt)*) => { $crate::log::log($crate::log::Level::Trace, format_args!($($part)*)) };
}
