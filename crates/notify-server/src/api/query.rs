//! Reading a query: each parameter once, none that is not known.

use axum::extract::FromRequestParts;
use axum::extract::rejection::QueryRejection;
use axum::http::request::Parts;
use notify_core::store::List;

use super::error::ApiError;

/// The largest page of a list, and the one that is given where none is asked for.
const LIMIT_MAX: usize = 200;
const LIMIT_DEFAULT: usize = 50;

/// The parameters of a call, until they are taken.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<axum::extract::Query<Vec<(String, String)>>, QueryRejection> =
            axum::extract::Query::from_request_parts(parts, state).await;
        match query {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(_) => Err(ApiError::field("query", "must be name=value pairs")),
        }
    }
}

impl Query {
    /// Takes the parameter of this name.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let mut found = None;
        while let Some(at) = self.0.iter().position(|(it, _)| it == name) {
            let (_, value) = self.0.swap_remove(at);
            if found.replace(value).is_some() {
                return Err(ApiError::field(name, "must be there only once"));
            }
        }
        Ok(found)
    }

    /// Takes a parameter that has to keep to a rule.
    pub(super) fn take_as<T>(
        &mut self,
        name: &str,
        rule: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take(name)? else {
            return Ok(None);
        };
        read(&text)
            .map(Some)
            .ok_or_else(|| ApiError::field(name, rule))
    }

    /// Takes what says which part of a list is asked for.
    pub(super) fn list(&mut self) -> Result<List, ApiError> {
        let limit = self.take_as("limit", "must be a number from 1 to 200", |text| {
            let limit: usize = text.parse().ok()?;
            (1..=LIMIT_MAX).contains(&limit).then_some(limit)
        })?;
        Ok(List {
            limit: limit.unwrap_or(LIMIT_DEFAULT),
            cursor: self.take("cursor")?,
        })
    }

    /// Refuses what nobody took: a misspelt name would change what is meant.
    pub(super) fn finish(self) -> Result<(), ApiError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(ApiError::field(name, "there is no such parameter")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        let pairs = pairs.iter();
        Query(
            pairs
                .map(|&(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }

    #[track_caller]
    fn check_refused<T: std::fmt::Debug>(taken: Result<T, ApiError>, expected: &str) {
        match taken {
            Err(ApiError::Field { field, .. }) => assert_eq!(field, expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_page_has_a_limit() {
        let list = |pairs: &[(&str, &str)]| query(pairs).list();
        assert_eq!(list(&[]).unwrap().limit, LIMIT_DEFAULT);
        let asked = list(&[("limit", "200"), ("cursor", "7")]).unwrap();
        assert_eq!((asked.limit, asked.cursor.as_deref()), (200, Some("7")));
        for bad in ["0", "201", "-1", "many", ""] {
            check_refused(list(&[("limit", bad)]), "limit");
        }
    }

    #[test]
    fn what_is_doubled_or_not_known_is_named() {
        check_refused(query(&[("a", "1"), ("a", "1")]).take("a"), "a");
        let mut rest = query(&[("a", "1"), ("b", "2")]);
        assert_eq!(rest.take("a").unwrap().as_deref(), Some("1"));
        assert_eq!(rest.take("a").unwrap(), None);
        check_refused(rest.finish(), "b");
    }
}
