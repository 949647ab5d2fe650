//! Answers in JSON, into which stored bytes are put as they are.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use notify_hub::Listed;
use serde::Serialize;

/// An answer in JSON.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(bytes) => written(status, bytes),
        // Nothing that is answered has a map with keys that are no text, which
        // is all that JSON can't say.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A part of a list, each item as it is shown.
pub(super) fn list<T, S: Serialize>(listed: Listed<T>, shown: impl FnMut(T) -> S) -> Response {
    let page = Page {
        items: listed.items.into_iter().map(shown).collect(),
        next_cursor: listed.next,
    };
    json(StatusCode::OK, &page)
}

#[derive(Serialize)]
struct Page<S> {
    items: Vec<S>,
    next_cursor: Option<String>,
}

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
        for part in [&b"\""[..], name.as_bytes(), b"\":", json] {
            self.0.extend_from_slice(part);
        }
        self
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    /// The object as an answer.
    pub(super) fn answer(self, status: StatusCode) -> Response {
        written(status, self.finish())
    }
}

/// A JSON array of what is JSON already.
pub(super) fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut json = vec![b'['];
    json.extend(items.join(&b','));
    json.push(b']');
    json
}

/// An answer that is JSON already.
pub(super) fn written(status: StatusCode, json: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, content_type)], json).into_response()
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
