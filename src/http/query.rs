//! The query of a request: each parameter at most once. An empty one counts as absent, because a form sends it so.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, web};

use super::{ApiError, MAX_PAGE};

/// The parameters that have a value.
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads the query. Refuses parameters that are not `known`, and repeated ones.
    pub(super) fn of(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map_err(|_| ApiError::BadQuery("it must be a list of name=value".into()))?;
        let mut found = BTreeMap::new();
        for (name, value) in pairs.into_inner() {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(ApiError::BadQuery(format!("unknown parameter {name:?}; known are {known}")));
            }
            if !value.is_empty() && found.insert(name.clone(), value).is_some() {
                return Err(ApiError::BadQuery(format!("{name} must be given only once")));
            }
        }
        Ok(Self(found))
    }

    /// The value of a parameter, which is then absent.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// The value of `limit`, or the default.
    pub(super) fn limit(&self, default: usize) -> Result<usize, ApiError> {
        let Some(text) = self.0.get("limit") else { return Ok(default) };
        let limit = text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit));
        limit.ok_or_else(|| ApiError::BadQuery(format!("limit must be a whole number from 1 to {MAX_PAGE}")))
    }
}
