//! Parameters that users set, and configuration that the guest sets for the rest of the gadget.

use crate::{
    error::{Error, Result},
    host,
    value::{Kind, until_nul},
};
use std::{fmt::Display, str::FromStr};

/// Room for a parameter's value, bytes.
const ROOM: usize = 64 << 10;

/// The value of a parameter, or its default. The metadata declares it below `params.wasm`; `key` is its `key`.
///
/// ```
/// # let host = gadget_guest::mock::Host::new();
/// # host.param("limit", "20");
/// let limit: u32 = gadget_guest::param("limit")?;
/// # assert_eq!(limit, 20);
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
