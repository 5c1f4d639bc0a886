//! What a person asked output to look like, and the terminal that it goes to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// How output is to look. The default is that of a pipe.
#[derive(Clone, Debug, Default)]
pub struct Display {
    /// Modes, such as `json` or `open:columns,start:none`: see [`mode::select`](super::mode::select).
    pub mode: String,
    /// Fields, such as `+timestamp,-tid` or `open:comm,fname;start:comm`: see [`fields::select`](super::fields::select).
    pub fields: Option<String>,
    /// The terminal that output goes to; `None` if it goes elsewhere.
    pub terminal: Option<Arc<Terminal>>,
    /// Whether errors and signals stand out.
    pub colour: bool,
}

/// A terminal, which may change its size while output goes to it.
#[derive(Debug)]
pub struct Terminal {
    columns: AtomicU16,
}

impl Terminal {
    /// A terminal of so many columns; of 0 if that is not known.
    pub fn new(columns: u16) -> Self {
        Self { columns: AtomicU16::new(columns) }
    }

    /// Columns that it has now.
    pub fn columns(&self) -> u16 {
        self.columns.load(Ordering::Relaxed)
    }

    /// It has so many columns from now on.
    pub fn resize(&self, columns: u16) {
        self.columns.store(columns, Ordering::Relaxed);
    }
}
