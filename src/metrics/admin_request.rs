//! The labels of requests to the admin port.

use prometheus_client::encoding::EncodeLabelSet;

/// The labels of a request to the admin port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AdminRequest {
    /// The pattern of the path, or `other` for an unknown path.
    pub route: &'static str,
    /// The status of the response.
    pub status: u16,
}

impl AdminRequest {
    /// `pattern` is the pattern of the requested path; `None` for an unknown path.
    pub fn new(pattern: Option<&str>, status: u16) -> Self {
        let known = ADMIN_REQUESTS.iter().map(|(route, _)| *route).find(|route| Some(*route) == pattern);
        Self { route: known.unwrap_or(OTHER_ROUTE), status }
    }
}

/// The route of unknown paths.
const OTHER_ROUTE: &str = "other";

/// The routes of the admin port, and the statuses of their responses.
pub(super) const ADMIN_REQUESTS: [(&str, &[u16]); 24] = [
    ("/v1/publish", &[200, 400, 401, 403, 408, 409, 413, 502, 503, 504]),
    ("/v1/publish/batch", &[200, 400, 401, 403, 408, 413]),
    ("/v1/control", &[200, 400, 401, 403, 408, 413, 502, 503, 504]),
    ("/v1/sessions", &[200, 400, 401, 403, 502, 504]),
    ("/v1/sessions/{id}/disconnect", &[200, 401, 403, 404, 502, 504]),
    ("/v1/presence", &[200, 400, 401, 403, 408, 409, 413, 502, 503, 504]),
    ("/v1/users/{user}", &[200, 400, 401, 403, 409, 502, 503, 504]),
    ("/v1/channels", &[200, 400, 401, 403, 409, 502, 503, 504]),
    ("/v1/channels/{channel}", &[200, 400, 401, 403, 409, 502, 503, 504]),
    ("/v1/channels/{channel}/members", &[200, 400, 401, 403, 409, 502, 503, 504]),
    ("/v1/channels/{channel}/history", &[200, 400, 401, 403, 502, 503, 504]),
    ("/v1/users/{user}/disconnect", &[200, 400, 401, 403, 502, 504]),
    ("/v1/inbox", &[200, 400, 401, 403, 502, 503, 504]),
    ("/v1/replicas", &[200, 401, 403, 502, 504]),
    ("/v1/status", &[200, 401, 403]),
    ("/v1/token", &[200, 400, 401, 403, 408, 413]),
    ("/v1/openapi.json", &[200]),
    ("/livez", &[200, 503]),
    ("/readyz", &[200, 503]),
    ("/metrics", &[200]),
    ("/", &[303]),
    ("/console", &[200]),
    ("/console/app.js", &[200]),
    ("/console/app.css", &[200]),
];
