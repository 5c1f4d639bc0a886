//! A field of a data source: looked up once, then read and written on each event.

use crate::{
    data::AsData,
    error::{Error, Result},
    host::{self, Handle},
    value::{Value, with_text},
};
use std::{fmt, marker::PhantomData, rc::Rc};

/// A field whose values have the Rust type `T`.
///
/// Get it from [`DataSource::field`](crate::DataSource::field) or
/// [`add_field`](crate::DataSource::add_field) in `init`, move it into the closure that subscribes. Clones are the
/// same field; the host forgets it when the last one is dropped.
pub struct Field<T> {
    inner: Rc<Inner>,
    value: PhantomData<fn() -> T>,
}

struct Inner {
    handle: Handle,
    name: Box<str>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        Self { inner: Rc::clone(&self.inner), value: PhantomData }
    }
}

impl<T> fmt::Debug for Field<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Field").field(&self.inner.name).finish()
    }
}

impl<T: Value> Field<T> {
    pub(crate) fn new(handle: Handle, name: &str) -> Self {
        Self { inner: Rc::new(Inner { handle, name: name.into() }), value: PhantomData }
    }

    /// The field's full name, such as `proc.comm`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The value in `data`. A text ends before its first NUL; what is not UTF-8 in it is replaced.
    pub fn get(&self, data: &impl AsData) -> Result<T> {
        T::get(self.inner.handle.raw(), data.raw()).ok_or_else(|| Error::Get(self.name().to_owned()))
    }

    /// Sets the value in `data`: `field.set(event, 7)?`, `name.set(event, "text")?`. A text that is too long for a
    /// `char` array is cut.
    pub fn set(&self, data: &impl AsData, value: T::Arg<'_>) -> Result {
        match T::set(self.inner.handle.raw(), data.raw(), value) {
            true => Ok(()),
            false => Err(Error::Set(self.name().to_owned())),
        }
    }

    /// Tags the field. Operators find fields by their tags, such as `name:comm`.
    pub fn add_tag(&self, tag: &str) -> Result {
        match host::add_tag(self.inner.handle.raw(), tag) {
            true => Ok(()),
            false => Err(Error::Tag(self.name().to_owned())),
        }
    }
}

impl Field<String> {
    /// Lends the text in `data` to `then`: as [`get`](Self::get), without allocating.
    pub fn with<R>(&self, data: &impl AsData, then: impl FnOnce(&str) -> R) -> Result<R> {
        with_text(self.inner.handle.raw(), data.raw(), then).ok_or_else(|| Error::Get(self.name().to_owned()))
    }
}
