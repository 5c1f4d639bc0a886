//! One running gadget: image, data sources, operators, load, attach, stop.
//!
//! Everything that `igx run` does can be called from here: [`resolve`] an image, [`Gadget::open`] it, [`run`] it.

mod annotate;
mod asked;
mod batch;
mod builtin;
mod command;
mod containers;
mod counters;
mod custom;
mod events;
mod gadget;
mod guest;
mod handover;
mod load;
mod lookup;
mod machine;
mod maps;
mod operators;
mod page;
mod pipeline;
mod policy;
mod printed;
mod resolve;
mod rest;
mod run;
mod schedule;
mod stacks;
mod statistics;
mod step;
mod syscall;
mod watched;

pub use crate::symbol::Symbolizers;
pub use annotate::{Annotation, Error as AnnotationError};
pub use builtin::{NAME as BUILT_IN, image as built_in_image};
pub use command::{Error as CommandError, exit_code};
pub use counters::Counter;
pub use gadget::{Error as GadgetError, Gadget, Origin, Param, Source};
pub use load::SocketPaths;
pub use pipeline::{Error as PrepareError, data_sources};
pub use printed::Listener;
pub use resolve::{Error as ResolveError, resolve};
pub use run::{Arrays, Error, Loss, Notice, Options, Summary, run};
pub use statistics::Statistics;
pub(crate) use statistics::sources as statistics;
pub use watched::Watched;
