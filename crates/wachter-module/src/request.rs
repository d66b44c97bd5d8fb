use std::io::Read;
use std::time::SystemTime;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use wachter_protocol::MODULE_PROTOCOL;
use wachter_protocol::module::{MAX_REQUEST, Request};

use crate::ModuleError;

/// Reads the one request that a module gets, to the end of `source`, and its deadline.
///
/// # Errors
/// Refused: a protocol that this SDK does not speak. Failed: everything else that is no request.
pub(crate) fn read_request(source: impl Read) -> Result<(Request, SystemTime), ModuleError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_REQUEST).unwrap_or(u64::MAX).saturating_add(1);
    source
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| ModuleError::failed(format!("stdin cannot be read: {error}")))?;
    if bytes.len() > MAX_REQUEST {
        return Err(ModuleError::failed(format!("the request has more than {MAX_REQUEST} bytes")));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(ModuleError::failed(
            "there is no request on stdin: a node starts a module; to try one, use `wachter module test`",
        ));
    }
    check_version(&bytes)?;
    let request: Request = from_slice(&bytes)?;
    let deadline: jiff::Timestamp = request.deadline.parse().map_err(|_| {
        ModuleError::failed(format!(
            "the deadline `{}` is not a time of RFC 3339",
            request.deadline
        ))
    })?;
    Ok((request, deadline.into()))
}

/// A later version may look different altogether: the version is all that is read first.
fn check_version(bytes: &[u8]) -> Result<(), ModuleError> {
    #[derive(Deserialize)]
    struct Version {
        protocol: u64,
    }
    match from_slice::<Version>(bytes)?.protocol {
        found if found == u64::from(MODULE_PROTOCOL) => Ok(()),
        found => Err(ModuleError::refused(format!(
            "the node speaks module protocol {found}, this module speaks {MODULE_PROTOCOL}; \
             build the module with the SDK of the node's version"
        ))),
    }
}

fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ModuleError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ModuleError::failed(format!("the request is not one: {error}")))?;
    json.end().map_err(|error| ModuleError::failed(format!("the request is not one: {error}")))?;
    Ok(value)
}

/// Reads the input; one that was left out is read as an object without keys, so that defaults hold.
///
/// # Errors
/// What does not fit, and at which key.
pub(crate) fn read_input<T: DeserializeOwned>(input: Value) -> Result<T, ModuleError> {
    if input.is_null()
        && let Ok(value) = T::deserialize(Value::Null)
    {
        return Ok(value);
    }
    let input = if input.is_null() { Value::Object(Map::new()) } else { input };
    serde_path_to_error::deserialize(input).map_err(|error| {
        let path = error.path().to_string();
        let place =
            if path == "." { "the input".to_owned() } else { format!("the input `{path}`") };
        ModuleError::failed(format!("{place} is not right: {}", error.into_inner()))
    })
}
