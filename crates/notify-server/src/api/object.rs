//! Reading the object in a body: what is refused is named, and a field that has no
//! meaning is refused too.

use notify_core::json::Text;

use super::error::ApiError;

/// Has every field of an object taken by its name with dots, and refuses one that
/// is there twice.
pub(super) fn each_field<'a>(
    value: Text<'a>,
    object: &str,
    mut take: impl FnMut(&str, Text<'a>) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let not_one = || ApiError::field(object, "must be a JSON object");
    let mut taken = Vec::new();
    for (name, value) in value.fields().ok_or_else(not_one)? {
        let name = match object {
            "body" => name.into_owned(),
            object => format!("{object}.{name}"),
        };
        if taken.contains(&name) {
            return Err(ApiError::field(&name, "must be there only once"));
        }
        take(&name, value)?;
        // What is taken is known, so there are few.
        taken.push(name);
    }
    Ok(())
}

pub(super) fn text(field: &str, value: Text<'_>) -> Result<String, ApiError> {
    let text = value.string().map(|text| text.into_owned());
    text.ok_or_else(|| ApiError::field(field, "must be text"))
}

/// `null` is the same as absent.
pub(super) fn optional<'a, T>(
    value: Text<'a>,
    read: impl FnOnce(Text<'a>) -> Result<T, ApiError>,
) -> Result<Option<T>, ApiError> {
    match value.is_null() {
        true => Ok(None),
        false => read(value).map(Some),
    }
}

pub(super) const NO_SUCH_FIELD: &str = "there is no such field";

/// `true` or `false`.
pub(super) fn boolean(field: &str, value: Text<'_>) -> Result<bool, ApiError> {
    match value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ApiError::field(field, "must be true or false")),
    }
}
