//! Answers in JSON, into which stored bytes are put as they are.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

/// A JSON object, written field by field.
pub(super) struct Object(Vec<u8>);

impl Object {
    pub(super) fn new() -> Self {
        Self(vec![b'{'])
    }

    /// Adds a field. `name` needs no escaping, and `value` must be one that JSON
    /// can say: no map with keys that are no text.
    pub(super) fn field(self, name: &'static str, value: &impl Serialize) -> Self {
        let json = serde_json::to_vec(value);
        self.stored(name, &json.unwrap_or_else(|_| b"null".to_vec()))
    }

    /// Adds a field whose value is JSON already.
    pub(super) fn stored(mut self, name: &'static str, json: &[u8]) -> Self {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.extend_from_slice(b"\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0.extend_from_slice(json);
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// An answer whose body is this JSON.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_bytes_stand_in_an_answer_as_they_are() {
        let inner = Object::new().stored("n", b"1.10").finish();
        let answer = Object::new()
            .field("text", &"a\"b")
            .stored("inner", &inner)
            .field("none", &None::<u8>)
            .finish();
        assert_eq!(answer, br#"{"text":"a\"b","inner":{"n":1.10},"none":null}"#);
        assert_eq!(Object::new().finish(), b"{}");
    }
}
