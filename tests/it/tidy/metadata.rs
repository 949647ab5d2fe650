//! The workspace's packages, as cargo describes them.

use serde_json::Value;

use super::ask_cargo;

/// One description for each package.
pub(super) fn described() -> Vec<Value> {
    let metadata = ask_cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo prints JSON");
    list(&metadata, "packages").to_vec()
}

pub(super) fn text(value: &Value, field: &str) -> String {
    let text = value.get(field).and_then(Value::as_str);
    text.expect("cargo's metadata has this text").to_owned()
}

pub(super) fn flag(value: &Value, field: &str) -> bool {
    let flag = value.get(field).and_then(Value::as_bool);
    flag.expect("cargo's metadata has this flag")
}

pub(super) fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    let list = value.get(field).and_then(Value::as_array);
    list.expect("cargo's metadata has this list")
}
