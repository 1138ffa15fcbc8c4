//! Whether durable publishing is possible.

/// Whether durable publishing is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Availability {
    /// Not checked yet.
    Unknown,
    /// Redis has the function.
    Available,
    /// Redis does not have the function, for this reason.
    Unavailable(String),
}

impl Availability {
    /// The note in `/readyz`.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Unavailable(reason) => Some(format!("history: unavailable because {reason}")),
            Self::Unknown | Self::Available => None,
        }
    }
}
