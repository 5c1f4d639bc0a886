//! Parameters that users set, and configuration that the guest sets for the rest of the gadget.

use crate::{
    error::{Error, Result},
    host,
    text::until_nul,
    value::Kind,
};
use std::{fmt::Display, str::FromStr};

/// Room for a parameter's value, bytes.
const ROOM: usize = 64 << 10;

/// The value of a parameter, or its default, from `pre_start` on. The metadata declares it below `params.wasm`; `key`
/// is its `key`.
///
/// Inspektor Gadget's `ig` also runs `init` to find out what a gadget has, before there are any values.
///
/// ```
/// use gadget_guest::{Guest, Result, param};
///
/// struct Top {
///     limit: u32,
/// }
///
/// impl Guest for Top {
///     fn init() -> Result<Self> {
///         Ok(Self { limit: 0 })
///     }
///
///     fn pre_start(&mut self) -> Result {
///         self.limit = param("limit")?;
///         Ok(())
///     }
/// }
/// # let host = gadget_guest::mock::Host::new();
/// # assert!(host.run::<Top>().is_err());
/// # host.param("limit", "20");
/// # host.run::<Top>()?;
/// # Ok::<_, gadget_guest::Error>(())
/// ```
pub fn param<T>(key: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    // The host does not say how long the value is: the zeros after it do.
    let mut room = vec![0; ROOM];
    if !host::param(key, &mut room) {
        return Err(Error::NoParam(key.to_owned()));
    }
    let text = until_nul(&room).into_owned();
    text.parse().map_err(|why: T::Err| Error::BadParam {
        key: key.to_owned(),
        value: text,
        why: why.to_string(),
    })
}

/// Sets a value that stands in the metadata or could, such as `programs.NAME.attach_to`. It counts if it is set in
/// `init`, before programs are attached.
pub fn set_config(key: &str, value: &str) -> Result {
    match host::set_config(key, value, Kind::String.number()) {
        true => Ok(()),
        false => Err(Error::Config(key.to_owned())),
    }
}
