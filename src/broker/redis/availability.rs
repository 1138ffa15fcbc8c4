//! Whether durable publishing is possible.

/// Whether durable publishing is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Availability {
    /// Nobody has looked yet.
    Unknown,
    /// Redis has the function.
    Available,
    /// It has not, because of this.
    Unavailable(String),
}

impl Availability {
    /// What `/readyz` notes.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Unavailable(reason) => Some(format!("history: unavailable because {reason}")),
            Self::Unknown | Self::Available => None,
        }
    }
}
